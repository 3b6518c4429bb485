/* Counter-based random numbers, the twin of random.py.   Source: Salmon et al. 2011, Philox4x32-10. */

enum { BP_SHUFFLE = 1 };

static inline void philox(uint32_t out[4], uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53 * c0, p1 = (uint64_t)0xCD9E8D57 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1, c3 = (uint32_t)p0;
        k0 += 0x9E3779B9, k1 += 0xBB67AE85;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* A random order of n rows, by the shuffle of Fisher and Yates (Durstenfeld 1964).   order (n,)  OUT */
static inline void permutation(ptrdiff_t *order, ptrdiff_t n, uint64_t seed, uint64_t epoch) {
    uint32_t words[4];
    for (ptrdiff_t i = 0; i < n; i++) order[i] = i;
    for (ptrdiff_t draw = 0; draw < n - 1; draw++) {
        if (draw % 4 == 0)
            philox(words, (uint32_t)(draw / 4), BP_SHUFFLE, (uint32_t)epoch, (uint32_t)(epoch >> 32), (uint32_t)seed,
                   (uint32_t)(seed >> 32));
        ptrdiff_t i = n - 1 - draw, j = (ptrdiff_t)((uint64_t)words[draw % 4] * (uint64_t)(i + 1) >> 32), row = order[i];
        order[i] = order[j];
        order[j] = row;
    }
}
