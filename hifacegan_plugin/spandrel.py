"""Lets programs that are built on spandrel (ComfyUI, chaiNNer) open weights of the generator.

Importing this module registers the architecture with spandrel::

    import hifacegan_plugin.spandrel
    model = spandrel.ModelLoader().load_from_file('net_g.safetensors')

spandrel hands on tensors alone; those that mark ``norm: rms`` and ``global_residual: true`` are among them.
"""

from __future__ import annotations

from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor, ModelTiling, SizeRequirements
from torch import Tensor

from hifacegan_plugin.archs.csr_arch import CSRGenerator
from hifacegan_plugin.archs.csr_form import MIN_SIZE
from hifacegan_plugin.archs.published_layouts import rename
from hifacegan_plugin.weights import build_generator

TELLING_KEYS = (  # of the paper's form and of the fast one
    {'blocks.0.spade_0.shared.weight', 'blocks.6.spade_s.gamma.weight', 'to_picture.weight'},
    {'suppression.levels.0.pool.logit_conv.weight', 'blocks.0.gamma.weight', 'to_picture.weight'},
)


def is_generator(state_dict: dict[str, Tensor]) -> bool:
    """Tell whether these are weights of a :class:`CSRGenerator`."""
    keys = {rename(key) for key in state_dict}
    return any(keys >= telling for telling in TELLING_KEYS)


class HiFaceGANArch(Architecture[CSRGenerator]):
    """How spandrel recognises and loads a :class:`CSRGenerator`, in any published layout."""

    def __init__(self) -> None:
        super().__init__(id='HiFaceGAN', detect=is_generator)

    def load(self, state_dict: dict[str, Tensor]) -> ImageModelDescriptor[CSRGenerator]:
        """Make the network and describe it.

        Raises:
            WeightsError: if the weights do not fit the network that they look like.
        """
        generator = build_generator(state_dict, {})
        return ImageModelDescriptor(
            generator,
            state_dict,
            architecture=self,
            purpose='Restoration' if generator.preset == 'fast' else 'FaceSR',
            tags=[f'{generator.num_feat}nf', 'fast' if generator.preset == 'fast' else generator.variant],
            supports_half=False,
            supports_bfloat16=True,
            scale=1,
            input_channels=generator.num_in_ch,
            output_channels=generator.num_in_ch,
            size_requirements=SizeRequirements(minimum=MIN_SIZE),
            # In the paper's form every tile is normalised by its own statistics.
            tiling=ModelTiling.SUPPORTED if generator.preset == 'fast' else ModelTiling.DISCOURAGED,
        )


if 'HiFaceGAN' not in {support.architecture.id for support in MAIN_REGISTRY}:
    MAIN_REGISTRY.add(ArchSupport.from_architecture(HiFaceGANArch()))
