"""Which voxels of a released image are not the patient's: told from noise, edges and levels, and taken off."""
