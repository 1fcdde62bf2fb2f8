from defacedask.witness.seeing import Sighting
class Verdict: pass
def verdict(*a): raise NotImplementedError
