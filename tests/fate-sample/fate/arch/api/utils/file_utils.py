import json
import os


def get_project_base_directory():
    """The directory that holds arch/, fate_flow/ and the rest."""
    here = os.path.abspath(__file__)
    for _ in ("file_utils.py", "utils", "api", "arch"):
        here = os.path.dirname(here)
    return here


def load_json_conf(path):
    """The JSON file at path, which is relative to the project."""
    with open(os.path.join(get_project_base_directory(), path)) as file:
        return json.load(file)
