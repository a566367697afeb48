"""The manifests agree with their schemas, with each other, and with the programs."""

import json
import os
import re
import subprocess
import unittest
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parent.parent.parent
KUBERNETES = ROOT / "deploy/kubernetes"
PROGRAMS = Path(os.environ["PROGRAMS"])


def flags(program):
    """The flags that a program has."""
    text = subprocess.run([PROGRAMS / program, "--help"], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"--[a-z][a-z-]+", text))


def documents():
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    for name in kustomization["resources"]:
        yield from yaml.safe_load_all((KUBERNETES / name).read_text())


def of(kind):
    return {each["metadata"]["name"]: each for each in documents() if each["kind"] == kind}


class Kubernetes(unittest.TestCase):
    def test_every_manifest_is_valid(self):
        for document in documents():
            with self.subTest(document["metadata"]["name"]):
                kubernetes_validate.validate(document, "1.33", strict=True)

    def test_every_file_is_a_resource(self):
        listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
        files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
        self.assertEqual(set(listed), files)

    def containers(self):
        for kind in ("Deployment", "StatefulSet"):
            for name, each in of(kind).items():
                pod = each["spec"]["template"]["spec"]
                yield name, each, pod, pod["containers"][0]

    def test_programs_have_the_flags(self):
        for name, _, _, container in self.containers():
            program, *given = container["args"]
            for flag in (each.split("=")[0] for each in given if each.startswith("--")):
                self.assertIn(flag, flags(program), name)

    def test_probes_reach_ports_and_pods_have_no_rights(self):
        for name, each, pod, container in self.containers():
            ports = {port["name"] for port in container["ports"]}
            for probe in ("readinessProbe", "livenessProbe"):
                self.assertIn(container[probe]["httpGet"]["port"], ports, name)
            self.assertTrue(pod["securityContext"]["runAsNonRoot"], name)
            context = container["securityContext"]
            self.assertTrue(context["readOnlyRootFilesystem"], name)
            self.assertEqual(context["capabilities"], {"drop": ["ALL"]}, name)
            self.assertEqual(each["spec"]["selector"]["matchLabels"].items() - each["spec"]["template"]["metadata"]["labels"].items(), set())

    def test_pods_are_given_the_time_to_drain(self):
        for name, _, pod, container in self.containers():
            grace = [int(arg.split("=")[1]) for arg in container["args"] if arg.startswith("--grace=")]
            pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            # The default of --grace is 10 seconds, after which a process may take 5 more.
            self.assertGreater(pod.get("terminationGracePeriodSeconds", 30), (grace or [10])[0] + pause + 5, name)

    def test_budgets_keep_one_of_each(self):
        self.assertEqual(set(of("PodDisruptionBudget")), {"gateway", "worker"})


class Compose(unittest.TestCase):
    def compose(self):
        return yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())

    def test_file_is_valid(self):
        schema = next(Path(os.environ["SCHEMAS"]).rglob("compose_spec.json"))
        jsonschema.validate(self.compose(), json.loads(schema.read_text()))

    def test_programs_have_the_flags(self):
        for name, service in self.compose()["services"].items():
            program, *given = service["command"]
            for flag in (each for each in given if each.startswith("--")):
                self.assertIn(flag, flags(program), name)


class BillOfMaterials(unittest.TestCase):
    def test_it_is_valid_and_complete(self):
        (path,) = Path(os.environ["PACKAGES"]).glob("*.cdx.json")
        error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(path.read_text())
        self.assertIsNone(error)
        components = json.loads(path.read_text())["components"]
        notices = (ROOT / "THIRD-PARTY.txt").read_text()
        for each in components:
            self.assertIn(f"{each['name']} {each['version']}", notices)
            self.assertTrue(each["licenses"] and each["hashes"], each["name"])
        self.assertGreater(len(components), 100)


if __name__ == "__main__":
    unittest.main()
