/** The Kubernetes manifests of the documentation against the schemas of what they describe, as `kubectl apply` does. */
import { readFileSync } from "node:fs";
import { Ajv } from "ajv";
import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { placeOf, readDocuments } from "../../support/docs/samples.js";

const fixture = (name: string) =>
  JSON.parse(
    readFileSync(new URL(`../../fixtures/kubernetes/${name}.json`, import.meta.url), "utf8"),
  ) as Schema;

interface Schema {
  readonly [key: string]: unknown;
}

/** Fields that a schema of `properties` does not name are rejected, as by kubectl's strict validation. */
function closed(value: unknown, whole = true): unknown {
  if (Array.isArray(value)) return value.map((each) => closed(each, whole));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(([key, each]) => {
    // The parts that only add to a schema beside them name few of its fields.
    const added = key === "allOf" && Array.isArray(each);
    return [
      key,
      added ? each.map((part) => closed(part, whole && "$ref" in part)) : closed(each, whole),
    ] as const;
  });
  const result = Object.fromEntries(entries);
  return whole && result.type === "object" && result.properties && result.additionalProperties === undefined
    ? { ...result, additionalProperties: false }
    : result;
}

const whole = (bits: number) => ({
  type: "number" as const,
  validate: (x: number) => Number.isInteger(x) && x >= -(2 ** (bits - 1)) && x < 2 ** (bits - 1),
});
const ajv = new Ajv({
  strict: true,
  strictRequired: false,
  strictTypes: false,
  allowUnionTypes: true,
  allErrors: true,
});
ajv.addFormat("int32", whole(32)).addFormat("int64", whole(64));
ajv.addFormat("date-time", (text) => !Number.isNaN(Date.parse(text)));
ajv.addFormat("quantity", /^[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?(\d+(\.\d*)?|\.\d+))?$/);
ajv.addSchema(closed(fixture("pod-template")) as Schema);
const ofPyTorchJob = ajv.compile(closed(fixture("pytorch-job")) as Schema);

/** What is wrong with a manifest; empty if nothing is. */
function faults(manifest: unknown): string[] {
  const { apiVersion, kind } = Object(manifest) as { apiVersion?: string; kind?: string };
  if (`${apiVersion}/${kind}` !== "kubeflow.org/v1/PyTorchJob") return [`no schema of ${apiVersion}/${kind}`];
  ofPyTorchJob(manifest);
  return (ofPyTorchJob.errors ?? []).map(({ instancePath, message, params }) =>
    [instancePath || "/", message, JSON.stringify(params)].join(" "),
  );
}

const manifests = readDocuments()
  .samples.filter(({ language, text }) => /^ya?ml$/.test(language) && /^apiVersion:/m.test(text))
  .flatMap((sample) =>
    parseAllDocuments(sample.text, { merge: true }).map((document) => {
      expect(document.errors, placeOf(sample)).toEqual([]);
      return { place: placeOf(sample), manifest: document.toJS() as Node };
    }),
  );

type Node = { [key: string]: Node } | Node[] | string | number;
type Path = readonly (string | number)[];

/** Paths of all values of a manifest. */
function pathsOf(node: Node, path: Path = []): Path[] {
  if (typeof node !== "object") return [path];
  const under = Array.isArray(node)
    ? node.flatMap((each, i) => pathsOf(each, [...path, i]))
    : Object.entries(node).flatMap(([key, each]) => pathsOf(each, [...path, key]));
  return path.length > 0 ? [path, ...under] : under;
}

/** A copy in which the last step of `path` was changed by `change`. */
function changed(
  node: Node,
  path: Path,
  change: (parent: { [key: string]: Node }, key: string) => void,
): Node {
  const copy = structuredClone(node);
  let parent = copy as { [key: string]: Node };
  for (const step of path.slice(0, -1)) parent = parent[step] as { [key: string]: Node };
  change(parent, String(path.at(-1)));
  return copy;
}

describe("the Kubernetes manifests of the documentation", () => {
  it("are there", () => {
    expect(manifests.map(({ place }) => place)).toEqual([
      expect.stringMatching(/^docs\/distributed\.md:\d+$/),
    ]);
  });

  for (const { place, manifest } of manifests) {
    it(`are what the cluster takes: ${place}`, () => {
      expect(faults(manifest)).toEqual([]);
    });

    it(`are rejected with any field misspelt: ${place}`, () => {
      const fields = pathsOf(manifest).filter((path) => typeof path.at(-1) === "string");
      expect(fields.length).toBeGreaterThan(40);
      for (const path of fields) {
        const misspelt = changed(manifest, path, (parent, key) => {
          parent[`${key}s`] = parent[key] as Node;
          delete parent[key];
        });
        expect(faults(misspelt), path.join(".")).not.toEqual([]);
      }
    });

    it(`are rejected with any value of another type: ${place}`, () => {
      for (const path of pathsOf(manifest)) {
        const other = changed(manifest, path, (parent, key) => {
          parent[key] = typeof parent[key] === "object" ? 7 : [{ x: 1 }];
        });
        expect(faults(other), path.join(".")).not.toEqual([]);
      }
    });
  }

  const [first] = manifests;
  const job = first?.manifest as Node;
  const specs = ["spec", "pytorchReplicaSpecs"];
  const master = [...specs, "Master"];
  const container = [...master, "template", "spec", "containers", 0];
  it.each([
    ["two masters", [...master, "replicas"], 2, "/spec/pytorchReplicaSpecs/Master/replicas must be <= 1"],
    [
      "an unknown restart policy",
      [...master, "restartPolicy"],
      "Sometimes",
      "restartPolicy must be equal to",
    ],
    ["a container of another name", [...container, "name"], "main", "containers must contain at least 1"],
    ["a name with capitals", ["metadata", "name"], "Soundspot", "/metadata/name must match pattern"],
    ["a mount without its path", [...container, "volumeMounts", 0], { name: "data" }, "'mountPath'"],
    ["the CRD of another version", ["apiVersion"], "kubeflow.org/v2", "no schema of kubeflow.org/v2"],
    ["no replicas at all", specs, {}, "must NOT have fewer than 1 properties"],
    ["half a replica", [...specs, "Worker", "replicas"], 2.5, "Worker/replicas must be integer"],
  ] as const)("are rejected with %s", (_, path, value, message) => {
    const broken = changed(job, path, (parent, key) => {
      parent[key] = value as Node;
    });
    expect(faults(broken).join("\n")).toContain(message);
  });
});
