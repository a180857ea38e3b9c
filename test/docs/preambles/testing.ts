/** What the examples of docs/testing.md take for granted. */
export declare class AppModule {}

export declare function leaseHasRunOut(): Promise<void>;

export declare const provider: { readonly charges: readonly unknown[] };
