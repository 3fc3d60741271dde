#include "base/siphash.h"

struct state {
    uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static void mix(struct state *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        s->a += s->b;
        s->c += s->d;
        s->b = rotate(s->b, 13) ^ s->a;
        s->d = rotate(s->d, 16) ^ s->c;
        s->a = rotate(s->a, 32);
        s->c += s->b;
        s->a += s->d;
        s->b = rotate(s->b, 17) ^ s->c;
        s->d = rotate(s->d, 21) ^ s->a;
        s->c = rotate(s->c, 32);
    }
}

/* Up to 8 bytes as a little-endian number. */
static uint64_t word(const char *at, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++)
        value |= (uint64_t)(unsigned char)at[i] << (8 * i);
    return value;
}

static void take(struct state *s, uint64_t value)
{
    s->d ^= value;
    mix(s, 2);
    s->a ^= value;
}

uint64_t siphash(const uint64_t key[static 2], struct str bytes)
{
    struct state s = {
        key[0] ^ 0x736f6d6570736575,
        key[1] ^ 0x646f72616e646f6d,
        key[0] ^ 0x6c7967656e657261,
        key[1] ^ 0x7465646279746573,
    };
    const size_t whole = bytes.len / 8 * 8;

    for (size_t i = 0; i < whole; i += 8)
        take(&s, word(bytes.at + i, 8));
    take(&s, word(bytes.at + whole, bytes.len - whole) | (uint64_t)bytes.len << 56);
    s.c ^= 0xFF;
    mix(&s, 4);
    return s.a ^ s.b ^ s.c ^ s.d;
}
