"""Let programs that are built on spandrel (ComfyUI, chaiNNer) open weights of the generator.

Importing this module registers the architecture with spandrel::

    import hifacegan_plugin.spandrel
    model = spandrel.ModelLoader().load_from_file('net_g.safetensors')

spandrel passes on tensors alone; those that mark ``norm: rms`` and ``global_residual: true`` are among them. The other
way round, :mod:`hifacegan_plugin.weights.recognised` restores with the networks that spandrel knows.
"""

from __future__ import annotations

from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor, ModelTiling, SizeRequirements
from torch import Tensor

from hifacegan_plugin.archs.csr.network import CSRNetwork
from hifacegan_plugin.archs.csr.paper import PaperCSR
from hifacegan_plugin.archs.csr.shapes import is_generator
from hifacegan_plugin.weights import build_generator


class HiFaceGANArch(Architecture[CSRNetwork]):  # type: ignore[misc]  # spandrel's types are not read
    """How spandrel recognises and loads a ``CSRGenerator``, in any published layout."""

    def __init__(self) -> None:
        super().__init__(id='HiFaceGAN', detect=is_generator)

    def load(self, state_dict: dict[str, Tensor]) -> ImageModelDescriptor[CSRNetwork]:
        """Build the network and describe it.

        Raises:
            WeightsError: if the weights do not fit the network that they look like.
        """
        generator = build_generator(state_dict, {})
        whole_image = generator.reach is None  # is normalised by its statistics, and so is every tile by its own
        return ImageModelDescriptor(
            generator,
            state_dict,
            architecture=self,
            purpose='FaceSR' if isinstance(generator, PaperCSR) else 'Restoration',
            tags=[f'{generator.num_feat}nf', generator.options.get('variant', generator.preset)],
            supports_half=False,
            supports_bfloat16=True,
            scale=1,
            input_channels=generator.num_in_ch,
            output_channels=generator.num_in_ch,
            size_requirements=SizeRequirements(minimum=generator.smallest_side),
            tiling=ModelTiling.DISCOURAGED if whole_image else ModelTiling.SUPPORTED,
        )


if 'HiFaceGAN' not in {support.architecture.id for support in MAIN_REGISTRY}:
    MAIN_REGISTRY.add(ArchSupport.from_architecture(HiFaceGANArch()))
