"""Networks. These modules import only torch."""

from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.archs.discriminator_arch import MultiscalePatchDiscriminator
from hifacegan_plugin.archs.guided_arch import GuidedRestorer
from hifacegan_plugin.archs.stylegan_arch import StyleGANRestorer

__all__ = ['CSRGenerator', 'GuidedRestorer', 'MultiscalePatchDiscriminator', 'StyleGANRestorer']
