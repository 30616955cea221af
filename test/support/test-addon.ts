/** Compiles the addon of the tests before the first one, where it is missing or older than its sources. */
import { utimesSync } from "node:fs";
import { compile, isUpToDate, TEST_ADDON } from "../../scripts/build.mjs";

export default async function compileTestAddon(): Promise<void> {
  if (isUpToDate(TEST_ADDON)) return;
  console.log("Compiling the addon of the tests, which takes a minute.");
  await compile({ quiet: true, variant: "cpu", target: "soundspot_test" });
  // A source may be newer and change nothing in it.
  utimesSync(TEST_ADDON, new Date(), new Date());
}
