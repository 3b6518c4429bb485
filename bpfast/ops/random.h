/* Counter-based random numbers, the twin of random.py.   Source: Salmon et al. 2011, Philox4x32-10. */

enum { BP_SHUFFLE = 1, BP_DROPOUT = 4, BP_BLOCKS = 64 };

/* Blocks first .. first + BP_BLOCKS of the draws of (seed, purpose, epoch), four words each.
 * A word stands in the low half of a lane; what is above it plays no part in a product. */
static void philox(uint32_t words[4 * BP_BLOCKS], uint32_t first, uint32_t purpose, uint64_t epoch, uint64_t seed) {
    enum { LANES = VECTOR_BYTES / sizeof(uint64_t) };
    static const uint64_t numbers[] __attribute__((aligned(64))) = {0, 1, 2, 3, 4, 5, 6, 7};
    uint64_t pairs[2][BP_BLOCKS] __attribute__((aligned(64)));
    for (uint32_t i = 0; i < BP_BLOCKS; i += LANES) {
        wide c0 = *(const wide *)numbers + wide_splat(first + i), c1 = wide_splat(purpose);
        wide c2 = wide_splat(epoch), c3 = wide_splat(epoch >> 32), k0 = wide_splat(seed), k1 = wide_splat(seed >> 32);
        for (int round = 0; round < 10; round++) {
            const wide p0 = LOW_PRODUCT(c0, wide_splat(0xD2511F53)), p1 = LOW_PRODUCT(c2, wide_splat(0xCD9E8D57));
            c0 = (p1 >> 32) ^ c1 ^ k0, c1 = p1;
            c2 = (p0 >> 32) ^ c3 ^ k1, c3 = p0;
            k0 += wide_splat(0x9E3779B9), k1 += wide_splat(0xBB67AE85);
        }
        *(wide *)(pairs[0] + i) = LOW_HALF(c0) | c1 << 32;
        *(wide *)(pairs[1] + i) = LOW_HALF(c2) | c3 << 32;
    }
    for (int i = 0; i < BP_BLOCKS; i++) {
        memcpy(words + 4 * i, pairs[0] + i, sizeof(uint64_t));
        memcpy(words + 4 * i + 2, pairs[1] + i, sizeof(uint64_t));
    }
}

/* A random order of n rows, by the shuffle of Fisher and Yates (Durstenfeld 1964).   order (n,)  OUT */
static void permutation(ptrdiff_t *order, ptrdiff_t n, uint64_t seed, uint64_t epoch) {
    uint32_t words[4 * BP_BLOCKS];
    for (ptrdiff_t i = 0; i < n; i++) order[i] = i;
    for (ptrdiff_t draw = 0; draw < n - 1; draw++) {
        if (draw % (4 * BP_BLOCKS) == 0) philox(words, (uint32_t)(draw / 4), BP_SHUFFLE, epoch, seed);
        ptrdiff_t i = n - 1 - draw, row = order[i];
        ptrdiff_t j = (ptrdiff_t)((uint64_t)words[draw % (4 * BP_BLOCKS)] * (uint64_t)(i + 1) >> 32);
        order[i] = order[j];
        order[j] = row;
    }
}
