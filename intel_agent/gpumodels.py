"""Which GPU a PCI device id stands for.

Sources: include/drm/intel/pciids.h of Linux (which ids are one family; integrated ones from Broadwell on, the first
that Intel's compute runtime knows), the tables of drivers/gpu/drm/i915/i915_pci.c and drivers/gpu/drm/xe/xe_pci.c
(which families are discrete). Names are those under which cards are sold, and only where Intel's own programs agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Model:
    """A family of GPUs, whether it is a card of its own or a part of the processor, and the name if that is known."""

    family: str
    discrete: bool
    name: str | None = None


MAX = "Data Center GPU Max"

DISCRETE: Mapping[str, str] = MappingProxyType(
    {
        MAX: "0b69 0b6e 0bd0 0bd4 0bd5 0bd6 0bd7 0bd8 0bd9 0bda 0bdb 0be0 0be1 0be5",
        "Data Center GPU Flex": "56c0 56c1 56c2",
        "Arc A-Series": "5690 5691 5692 5693 5694 5695 5696 5697 56a0 56a1 56a2 56a3 56a4 56a5 56a6 "
        "56b0 56b1 56b2 56b3 56ba 56bb 56bc 56bd 56be 56bf",
        "Arc B-Series": "e202 e209 e20b e20c e20d e210 e211 e212 e215 e216 e220 e221 e222 e223",
        "DG1": "4905 4906 4907 4908 4909",
        "Crescent Island": "674c 674d 674e 674f 6750",
    }
)
"""Ids by family."""

INTEGRATED: Mapping[str, str] = MappingProxyType(
    {
        "Broadwell": "1602 1606 160a 160b 160d 160e 1612 1616 161a 161b 161d 161e 1622 1626 162a 162b 162d 162e "
        "1632 1636 163a 163b 163d 163e",
        "Cherryview": "22b0 22b1 22b2 22b3",
        "Skylake": "1902 1906 190a 190b 190e 1912 1913 1915 1916 1917 191a 191b 191d 191e 1921 1923 1926 1927 "
        "192a 192b 192d 1932 193a 193b 193d",
        "Broxton": "0a84 1a84 1a85 5a84 5a85",
        "Gemini Lake": "3184 3185",
        "Kaby Lake": "5902 5906 5908 590a 590b 590e 5912 5913 5915 5916 5917 591a 591b 591c 591d 591e 5921 5923 "
        "5926 5927 593b 87c0",
        "Coffee Lake": "3e90 3e91 3e92 3e93 3e94 3e96 3e98 3e99 3e9a 3e9b 3e9c 3ea5 3ea6 3ea7 3ea8 3ea9 87ca",
        "Whiskey Lake": "3ea0 3ea1 3ea2 3ea3 3ea4",
        "Comet Lake": "9b21 9b41 9ba2 9ba4 9ba5 9ba8 9baa 9bac 9bc2 9bc4 9bc5 9bc6 9bc8 9bca 9bcc 9be6 9bf6",
        "Cannon Lake": "5a40 5a41 5a42 5a44 5a49 5a4a 5a4c 5a50 5a51 5a52 5a54 5a59 5a5a 5a5c",
        "Ice Lake": "8a50 8a51 8a52 8a53 8a54 8a56 8a57 8a58 8a59 8a5a 8a5b 8a5c 8a5d 8a70 8a71",
        "Elkhart Lake": "4541 4551 4555 4557 4570 4571",
        "Jasper Lake": "4e51 4e55 4e57 4e61 4e71",
        "Tiger Lake": "9a40 9a49 9a59 9a60 9a68 9a70 9a78 9ac0 9ac9 9ad9 9af8",
        "Rocket Lake": "4c80 4c8a 4c8b 4c8c 4c90 4c9a",
        "Alder Lake-S": "4680 4682 4688 468a 468b 4690 4692 4693",
        "Alder Lake-P": "4626 4628 462a 46a0 46a1 46a2 46a3 46a6 46a8 46aa 46b0 46b1 46b2 46b3 46c0 46c1 46c2 46c3",
        "Alder Lake-N": "46d0 46d1 46d2 46d3 46d4",
        "Raptor Lake-S": "a780 a781 a782 a783 a788 a789 a78a a78b",
        "Raptor Lake-U": "a721 a7a1 a7a9 a7ac a7ad",
        "Raptor Lake-P": "a720 a7a0 a7a8 a7aa a7ab",
        "Meteor Lake": "7d40 7d45 7d55 7d60 7dd5",
        "Arrow Lake": "7d41 7d51 7d67 7dd1 b640",
        "Lunar Lake": "6420 64a0 64b0",
        "Panther Lake": "b080 b081 b082 b083 b084 b085 b086 b087 b08f b090 b0a0 b0b0",
        "Wildcat Lake": "fd80 fd81",
        "Nova Lake-S": "d740 d741 d742 d743 d745 d74a d74b",
        "Nova Lake-P": "d750 d751 d752 d753 d754 d755 d756 d757 d75f",
    }
)
"""Ids by family."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "0bd5": "Data Center GPU Max 1550",
        "0bd9": "Data Center GPU Max 1100",
        "0bda": "Data Center GPU Max 1100",
        "0bdb": "Data Center GPU Max 1100",
        "56c0": "Data Center GPU Flex 170",
        "56c1": "Data Center GPU Flex 140",
        "56c2": "Data Center GPU Flex 170V",
        "5690": "Arc A770M",
        "5691": "Arc A730M",
        "5692": "Arc A550M",
        "5693": "Arc A370M",
        "5694": "Arc A350M",
        "5696": "Arc A570M",
        "5697": "Arc A530M",
        "56a0": "Arc A770",
        "56a1": "Arc A750",
        "56a2": "Arc A580",
        "56a5": "Arc A380",
        "56a6": "Arc A310",
        "56b0": "Arc Pro A30M",
        "56b1": "Arc Pro A40/A50",
        "56b2": "Arc Pro A60M",
        "56b3": "Arc Pro A60",
        "56ba": "Arc A380E",
        "56bb": "Arc A310E",
        "56bc": "Arc A370E",
        "56bd": "Arc A350E",
        "56be": "Arc A750E",
        "56bf": "Arc A580E",
        "e20b": "Arc B580",
        "e20c": "Arc B570",
        "e211": "Arc Pro B60",
        "e212": "Arc Pro B50",
        "e222": "Arc Pro B65",
        "e223": "Arc Pro B70",
        "4905": "Iris Xe MAX",
        "4907": "Server GPU SG-18M",
    }
)

_MODELS: Mapping[str, Model] = MappingProxyType(
    {
        f"0x{each}": Model(family, discrete, NAMES.get(each))
        for families, discrete in ((DISCRETE, True), (INTEGRATED, False))
        for family, ids in families.items()
        for each in ids.split()
    }
)


def model(device_id: str) -> Model | None:
    """Return what the id (`0x56c0`) stands for, or `None` when that is not known."""
    return _MODELS.get(device_id)
