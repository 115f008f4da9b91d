/** Made from the files in page/ by scripts/timeline-page.js. */

/** The page's script, in one piece. */
export declare const SCRIPT: string
export declare const STYLE: string
