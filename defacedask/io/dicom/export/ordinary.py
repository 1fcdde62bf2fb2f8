"""Words of imaging and radiotherapy that may also be somebody's name: alone, they name nobody."""

from __future__ import annotations

import functools
import re

__all__ = ["is_ordinary"]

_TEXT = """
abdomen ablation acquisition adult air airway algorithm anal anterior aorta apex area arm arms artery artifact
artefact auge axial axis axilla back base beam bed best bite bladder block blood body bolus bone bones boost
border bottom bowel box brachial brain brainstem breast bronchus brush buccal bulb bulbus bundle calc cancer
canal cardiac care carina carotid cartilage cast caudal caudate cavity cell center centre central cerebellum
cervical chain check chest chiasm chiasma child chin clavicle clear clinical clip cochlea cold colon comb
comment cone contour contrast control copy cord core cornea coronal cortex couch course cover cranial cranium
crop cube current curve custom cut cylinder dark data date day deep default defaced defacedask dental derived
dexter diaphragm disc disk distal dose dosis dot drop duct dummy duodenum ear ears edge edit effective end
enhanced epi esophagus eval evaluation exam except external extra eye eyes face facial false fast feet femur
field filter final fine first fissure fist flair flap floor fluid follow foot fossa fovea frame free front
frontal full fundus fusion gap gland globe glottis good gray green grey gross group guide half hand hands hard
head heart help high hip hippocampus hold hole horn hot human humerus hyoid image imaging implant inferior inner
insula interior internal intra iris isocenter island jaw joint junction kidney kiefer knee label lacrimal lamina
large larynx last lateral layer left leg legs lens level light limb line lingual links lip lips liver lobe
localizer long loop low lower lumen lung lungs lymph main male mandible mandibula manual margin mark marker mask
mass master maxilla max may mean medial median medulla mid middle min minor mirror mixed model modified mold
mouth move multi muscle nasal nasopharynx native near neck nerve new node nodes none normal nose note old one
open optic option oral orbit order organ original other outer oval ovary overlap palate palm pancreas parotid
part partial path pelvis penis phantom phase photo pin pituitary plan plane plate pleura plexus point pons port
position post posterior prep primary probe prone prostate protocol proximal pyramid quickshear range ray reader
rectal rectum red reface region registration removed residual rest result retina rib ribs right ring rod roi
root sacrum sagittal salivary same save scalp scan scar scout screen second section seed segment sella series
set sharp shell short shoulder side sigma simple single sinister site skin skull slice slow small soft solid
source space spinal spine spleen split spot square stem step sternum stomach stone straight structure study sub
submandibular superior supine support surface table tail target teeth temple temporal template term test
thalamus thick thigh thin thorax throat thymus thyroid tip tissue tongue tonsil tooth top total trachea tract
transverse true trunk tube tumor tumour tuner turn two type unit upper ureter urethra uterus vagina valve vein
ventricle version vertebra vessel vest view vocal void volume vulva wall warm water wax weight wet white whole
wide wing wire wood work wrist yellow young zero zone ac al ap bin ben bei da dal das de del della dem den der
des di do dos du el en het ibn la las le les lo los mac mc san santa saint st ten ter the to van vd vel ven vom
von vor zu zum zur and for not with without und mit ohne fur bei dr prof mr mrs ms miss herr frau med phd sir
lady jr sr accuray agfa aria brainlab canon carestream elekta eclipse fuji fujifilm general electric hitachi mim
monaco oncentra philips picker pinnacle raysearch raystation samsung shimadzu siemens toshiba tomotherapy united
imaging varian velocity healthcare health medical medizin systems system technologies
"""


@functools.cache
def _words() -> frozenset[str]:
    from defacedask.anatomy.structure_names import standard_vocabulary

    return frozenset(_TEXT.split()) | standard_vocabulary()


def is_ordinary(word: str) -> bool:
    """Whether a folded word (lower case, no accents) is one of imaging's own, or a particle or title of names.

    A few endings and side marks are looked through: ``kidneys``, ``lensl``.
    """
    known = _words()
    return word in known or re.sub(r"(s|es|[lr])$", "", word) in known
