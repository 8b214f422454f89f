from setuptools import setup

setup(
    name="fate-client",
    version="1.11.4",
    package_dir={"": "src"},
    packages=["flow_client", "pipeline"],
    install_requires=["click>=7.0,<8.0"],
    entry_points={"console_scripts": ["flow = flow_client.flow:flow_cli", "pipeline = pipeline.pipeline_cli:cli"]},
)
