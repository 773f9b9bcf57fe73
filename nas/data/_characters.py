"""The characters of the generated data set, in the order in which more classes take them."""

from __future__ import annotations

CHARACTERS = (
    "0123456789ACDEGHJKLMNPQRTUVWXYZabdefmnrtqiksy"
    "ΔΞΣΦΨαβζλμνξρςστφωБДЖЛЧШЪЫЭЮЯЂЉЊЋвй"
    "!#$%&()*+/<=>?@[^}~¢£¥§©®«»±¶½¼¾¿×€№™‡‰‼⁇"
    "ℏÆÞßæðøŒŊƈƐƕƪƫƺƾǁǂɔɕɖɘɚɝɞɣɤɧɫɮɰɲɳɷɹɻɾʂʄʇʉʋʍʎʐʑʔʕʚʛʝʞʣʤʦʧϕϞϠϡϰ"
    "←↑→↓↖↗↘↙⇐⇑⇒⇓↩↪↭↯↰↱↲↳↴↵↶↷↺↻⇄⇅⇆⇇⇈⇊⇋⇖⇗⇘⇙↝↢↣"
    "∂∃∄∉∏√∝∞∠∧∫∬∸∺∻∽≈≐≒≠≡≤≥⊂⊃⊄⊅⊆⊇⊍⊏⊐⊑⊒⊔⊕⊗⊞⊠⊢⊣⊥⋄⌂⌐⌙"
    "╔╗╚╝╠╣╦╒╕╘╛╤╧╪△▷▽◁♭♮♯ÄÉÑÖÜŠŽĞĄĘĶÝÿäåçéñž"
)
"""Every font of `FONTS` has them all. Scaled to one size, the shapes of no two agree in the mean over the fonts to more
than a cosine of 0.9 (shifts allowed); so of 0 and O, 8 and B, P and Greek rho's capital, only the first is here."""

FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
)
"""Fonts that matplotlib carries."""
