"""Lets programs that are built on spandrel (ComfyUI, chaiNNer) open weights of the generator.

Importing this module registers the architecture with spandrel::

    import hifacegan_plugin.spandrel
    model = spandrel.ModelLoader().load_from_file('net_g.safetensors')

spandrel hands on tensors alone; those that mark ``norm: rms`` and ``global_residual: true`` are among them.
"""

from __future__ import annotations

from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor, ModelTiling, SizeRequirements
from torch import Tensor

from hifacegan_plugin.archs.csr_arch import MIN_SIZE, CSRGenerator
from hifacegan_plugin.archs.published_layouts import rename
from hifacegan_plugin.weights import build_generator

TELLING_KEYS = {'blocks.0.spade_0.shared.weight', 'blocks.6.spade_s.gamma.weight', 'to_picture.weight'}


class HiFaceGANArch(Architecture[CSRGenerator]):
    """How spandrel recognises and loads a :class:`CSRGenerator`, in any published layout."""

    def __init__(self) -> None:
        super().__init__(id='HiFaceGAN', detect=lambda state_dict: {rename(key) for key in state_dict} >= TELLING_KEYS)

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
            purpose='FaceSR',
            tags=[f'{generator.num_feat}nf', generator.variant],
            supports_half=False,
            supports_bfloat16=True,
            scale=1,
            input_channels=generator.num_in_ch,
            output_channels=generator.num_in_ch,
            size_requirements=SizeRequirements(minimum=MIN_SIZE),
            tiling=ModelTiling.DISCOURAGED,  # every tile would be normalised by its own statistics
        )


if 'HiFaceGAN' not in {support.architecture.id for support in MAIN_REGISTRY}:
    MAIN_REGISTRY.add(ArchSupport.from_architecture(HiFaceGANArch()))
