export function gzippedSize(entry: string, external?: readonly string[]): Promise<number>;
