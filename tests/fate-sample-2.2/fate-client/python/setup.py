from setuptools import find_packages, setup

setup(
    name="fate-client",
    version="2.2.0",
    packages=find_packages("."),
    package_data={"": ["*"]},
    install_requires=["click"],
    entry_points={
        "console_scripts": [
            "flow = fate_client.commands:flow",
            "pipeline = fate_client.commands:pipeline",
        ]
    },
)
