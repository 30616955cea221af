// Whether soundspot and a baseline compute the same.

/**
 * The differences between two sets of numbers by name, each relative to the larger of both.
 * @throws Error when one has a name that the other lacks, or a number is not finite
 */
export function differences(ours, theirs) {
  const result = {};
  for (const name of new Set([...Object.keys(ours), ...Object.keys(theirs)])) {
    const [own, other] = [ours[name], theirs[name]];
    if (!Number.isFinite(own) || !Number.isFinite(other))
      throw new Error(`${name} is ${own} in soundspot and ${other} in the baseline.`);
    const size = Math.max(Math.abs(own), Math.abs(other));
    result[name] = size === 0 ? 0 : Math.abs(own - other) / size;
  }
  return result;
}

/**
 * @param compared relative differences by name, by what they are of
 * @param tolerance the greatest permitted, by what they are of
 * @returns the greatest of each in one line
 * @throws Error that names every number beyond its tolerance
 */
export function agreementOf(compared, tolerance) {
  const beyond = [];
  const greatest = Object.entries(compared).map(([what, byName]) => {
    for (const [name, difference] of Object.entries(byName))
      if (!(difference <= tolerance[what])) beyond.push(`${what}: ${name} by ${shown(difference)}`);
    return `${what} ${shown(Math.max(...Object.values(byName)))}`;
  });
  if (beyond.length > 0)
    throw new Error(
      `soundspot and the baseline do not compute the same. They differ in ${beyond.join("; ")}.`,
    );
  return greatest.join(", ");
}

const shown = (difference) => difference.toExponential(1);
