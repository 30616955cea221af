/** Data to score on, for datasets that draw their samples: splits that training does not see. */
export const heldOut: Readonly<
  Record<string, { readonly evaluation: string; readonly twoSources?: string }>
> = {
  scenes: {
    evaluation: "scenes:split=test,length=1000",
    twoSources: "scenes:split=test,length=200,sources=2",
  },
  stamps: { evaluation: "stamps:split=test,length=400" },
};
