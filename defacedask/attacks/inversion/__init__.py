"""Learned inversion: from what a defacer left of a head, where its skin ran, having learnt it on other persons.

Anybody can run a published defacer over heads of their own and so learn how what it leaves goes with what it took:
the skin that remains beside the face, the bone below it, and whatever the new face knows of the old one. The maps are
radial depths about the registered head (`maps`), the learning a ridge regression on principal components
(`regression`), its result an image that is rendered and matched like any other (`rebuild`). `evidence` says how much
nearer it comes to the truth than the average face does, and `planted` what it must and what it must not find.
"""
