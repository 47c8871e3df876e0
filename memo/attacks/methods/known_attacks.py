"""All attacks, by their names: one line each."""

from memo.attacks.methods.attack_method import Attack
from memo.attacks.methods.calibrated_difference import CALIBRATED
from memo.attacks.methods.likelihood_ratio import LIKELIHOOD_RATIO
from memo.attacks.methods.loss_threshold import LOSS
from memo.attacks.methods.middle import MIDDLE
from memo.attacks.methods.moderated_middle import MODERATED
from memo.attacks.methods.offline_likelihood_ratio import OFFLINE
from memo.attacks.methods.rmia import RMIA

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (MODERATED, LIKELIHOOD_RATIO, OFFLINE, RMIA, MIDDLE, CALIBRATED, LOSS)
}

PRIMARY = MODERATED.name
"""The attack that headlines, risks and epsilon are of: chosen in advance, since the best of
several on the same data looks better than it is."""
