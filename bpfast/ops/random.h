/* Counter-based random numbers, the twin of random.py.   Source: Salmon et al. 2011, Philox4x32-10. */

enum { BP_SHUFFLE = 1, BP_DROPOUT = 4, BP_BLOCKS = 64 };

/* Blocks first .. first + BP_BLOCKS of the draws of (seed, purpose, epoch), four words each. */
static void philox(uint32_t words[4 * BP_BLOCKS], uint32_t first, uint32_t purpose, uint64_t epoch, uint64_t seed) {
    for (uint32_t i = 0; i < BP_BLOCKS; i++) {
        uint32_t c0 = first + i, c1 = purpose, c2 = (uint32_t)epoch, c3 = (uint32_t)(epoch >> 32);
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        for (int round = 0; round < 10; round++) {
            uint64_t p0 = (uint64_t)0xD2511F53 * c0, p1 = (uint64_t)0xCD9E8D57 * c2;
            c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, c1 = (uint32_t)p1;
            c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1, c3 = (uint32_t)p0;
            k0 += 0x9E3779B9, k1 += 0xBB67AE85;
        }
        words[4 * i] = c0, words[4 * i + 1] = c1, words[4 * i + 2] = c2, words[4 * i + 3] = c3;
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
