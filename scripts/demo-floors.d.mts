export type FigureName = "audio" | "iqr" | "auc" | "audioToImage" | "imageToAudio" | "soundingOverSilent";
/** Shares in [0, 1]. */
export type Figures = Readonly<Partial<Record<FigureName | "mismatched", number>>>;

export const FLOORS: Readonly<Record<FigureName, number>>;
export const NAMES: Readonly<Record<FigureName | "mismatched", string>>;
export function percent(share: number | undefined): string;
export function shortfalls(figures: Figures): string[];
