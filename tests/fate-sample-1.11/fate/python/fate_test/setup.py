from setuptools import setup

setup(
    name="fate-test",
    version="1.11.4",
    # upstream's poetry puts its directory on the path; so does this layout
    package_dir={"": "src"},
    packages=["fate_test"],
    install_requires=["click>=7.0,<8.0", "fate_client>=1.11,<2.0"],
    entry_points={"console_scripts": ["fate_test = fate_test:cli"]},
)
