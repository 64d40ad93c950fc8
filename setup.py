# SPDX-License-Identifier: Apache-2.0
"""Build recipe for both `colcon build` (ament_python) and plain `pip install`."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "segmif_ros"
ROOT = Path(__file__).parent


def share(folder: str) -> list[tuple[str, list[str]]]:
    """Install every file under `folder` into share/segmif_ros, keeping the tree."""
    files = sorted(path for path in (ROOT / folder).rglob("*") if path.is_file())
    by_parent: dict[str, list[str]] = {}
    for path in files:
        relative = path.relative_to(ROOT)
        # Engines lie beside the model that they were built from, and belong to this machine.
        if not {"__pycache__", "engines"}.intersection(relative.parts):
            by_parent.setdefault(f"share/{NAME}/{relative.parent}", []).append(str(relative))
    return list(by_parent.items())


# The wheels of one ROS distribution belong together: a newer message package does not load with an
# older rclpy, so these pins move as one row (Jazzy) and never apart.
ROS_JAZZY = [
    "ros-jazzy-rclpy==7.1.6",
    "ros-rmw-fastrtps-cpp==8.4.3",
    "ros-sensor-msgs==5.3.6",
    "ros-diagnostic-msgs==5.3.6",
    "ros-std-srvs==5.3.6",
]

# Its wheels exist for x86-64 only.
RTX = 'tensorrt-rtx-cu12>=1.7,<2; platform_machine == "x86_64"'

setup(
    name=NAME,
    version="0.1.0",
    description="Real-time thermal + RGB fusion and segmentation (SegMiF) for ROS 2",
    license="Apache-2.0",
    maintainer="segmif_ros maintainers",
    maintainer_email="maintainers@segmif-ros.dev",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: ["py.typed"],
        f"{NAME}.report": ["templates/*"],
        f"{NAME}.view": ["page/*"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/hook", ["resource/hook/path.dsv"]),
        (f"lib/{NAME}", ["scripts/segmif_node", "scripts/segmif_rig"]),
        *share("launch"),
        *share("config"),
        *share("models"),
    ],
    install_requires=[
        "numpy>=1.24,<3",
        "opencv-python-headless>=4.10,<6",
        "PyYAML>=6,<7",
        "msgspec>=0.19,<1",
        "Jinja2>=3.0,<4",
        "tqdm>=4.65,<5",
        "shtab>=1.7,<2",
        # rosbags knows the messages and brings apsw, for .db3; mcap reads files that were never
        # completed and checksums, and brings zstandard and lz4.
        "rosbags>=0.11,<0.12",
        "mcap>=1.2,<2",
        "av>=14.2,<19",  # VideoFrame.rotation
    ],
    extras_require={
        "ros": ROS_JAZZY,
        # ONNX Runtime before 1.21 does not quantise with ONNX 1.16.
        "cpu": ["onnx>=1.16,<2", "onnxruntime>=1.21,<2", "openvino>=2025.0,<2027"],
        # ONNX Runtime on the CPU is what an engine is compared with before it is used.
        "gpu": ["onnx>=1.16,<2", "onnxruntime>=1.21,<2", "tensorrt>=10.3,<12", "pycuda>=2024.1"],
        # Builds engines without a GPU; to run them on one, pycuda is needed as well.
        "rtx": ["onnx>=1.16,<2", RTX],
        # TensorBoard before 2.20 does not install Pillow, which it writes pictures with.
        "train": ["torch>=2.4,<2.14", "onnx>=1.16,<2", "tensorboard>=2.20,<3"],
        "cluster": ["distributed>=2024.8,<2027"],
        "fuzz": ['atheris>=3,<4; python_version >= "3.11"'],
        "docs": ["sphinx>=8,<10", "myst-parser>=4,<6", "furo>=2024.8,<2027"],
        "test": [
            "pytest>=8,<9",
            "pytest-random-order>=1.1,<2",
            "pytest-xdist>=3.5,<4",
            "coverage>=7.4,<8",
            "ruff>=0.17,<0.18",
            "mypy>=2.4,<2.5",
            "types-PyYAML",
            "catkin_pkg>=1.0,<2",
            "dockerfile-parse>=2,<3",
            "hypothesis>=6.100,<7",
            "playwright>=1.45,<2",
            RTX,
        ],
    },
    entry_points={
        "console_scripts": [
            "segmif = segmif_ros.cli.start:segmif",
            "segmif_node = segmif_ros.ros.start:node",
            "segmif_rig = segmif_ros.ros.start:rig",
        ],
    },
    zip_safe=False,
)
