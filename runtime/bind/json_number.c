#include "bind/json_codec.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lua.h>

/* --- writing --- */

static size_t count_digits(uint64_t n)
{
    for (size_t count = 0;; count += 4, n /= 10000) {
        if (n < 10)
            return count + 1;
        if (n < 100)
            return count + 2;
        if (n < 1000)
            return count + 3;
        if (n < 10000)
            return count + 4;
    }
}

/* The last `len` digits, zeros in front. */
static void put_digits(char *out, uint64_t n, size_t len)
{
    for (; len > 0; n /= 10)
        out[--len] = (char)('0' + n % 10);
}

static size_t format_integer(char *out, uint64_t n)
{
    const size_t len = count_digits(n);

    put_digits(out, n, len);
    return len;
}

/* Most numbers people write have few decimals: `d` is m / 10^k with m below 2^53, and that
 * division, being correctly rounded, gives `d` back. The first k that does is the shortest text.
 * Returns 0 when there is none with up to 15 digits.
 */
static size_t format_decimal(char *out, double d)
{
    double scale = 1;
    uint64_t m;
    size_t k = 0, len;

    if (d < 1e-4 || d >= 1e15)
        return 0;
    do {
        if (d * scale * 10 >= 1e15)
            return 0;
        scale *= 10;
        k++;
        m = (uint64_t)(d * scale + 0.5);
    } while ((double)m / scale != d);

    len = format_integer(out, (uint64_t)d);
    out[len++] = '.';
    put_digits(out + len, m, k);
    return len + k;
}

/* The fewest digits that read back as the same double; 17 always do. */
static size_t format_digits(const struct json_codec *codec, char *out, double d)
{
    const locale_t old = uselocale(codec->c_locale);
    int len = 0;

    for (int digits = 15; digits <= 17; digits++) {
        len = snprintf(out, JSON_NUMBER_MAX, "%.*g", digits, d);
        if (strtod(out, NULL) == d)
            break;
    }
    uselocale(old);
    return (size_t)len;
}

size_t json_format_number(const struct json_codec *codec, char *out, double d)
{
    size_t sign = 0, len;

    if (signbit(d)) {
        *out++ = '-';
        d = -d;
        sign = 1;
    }
    if (d <= 9007199254740992.0 && d == (double)(uint64_t)d)
        return sign + format_integer(out, (uint64_t)d);
    len = format_decimal(out, d);
    return sign + (len ? len : format_digits(codec, out, d));
}

/* --- reading --- */

enum { EXACT_DIGITS = 19 }; /* decimal digits that always fit 64 bits */

struct number {
    uint64_t digits; /* all of them, as an integer */
    int count;       /* how many, leading zeros aside */
    int exponent;    /* of ten */
    bool negative;
};

static void read_digits(struct json_in *in, struct number *n)
{
    for (; json_at_digit(in); in->at++) {
        n->digits = n->digits * 10 + (uint64_t)(*in->at - '0'); /* may wrap: see `count` */
        n->count += n->count > 0 || *in->at != '0';
    }
}

static bool read_exponent(struct json_in *in, struct number *n)
{
    bool negative;
    int exponent = 0;

    in->at++;
    negative = in->at < in->end && *in->at == '-';
    in->at += negative || (in->at < in->end && *in->at == '+');
    if (!json_at_digit(in))
        return json_fail(in, "exponent without digits", in->at);
    for (; json_at_digit(in); in->at++) {
        if (exponent < 100000)
            exponent = exponent * 10 + (*in->at - '0');
    }
    n->exponent += negative ? -exponent : exponent;
    return true;
}

static bool scan_number(struct json_in *in, struct number *n)
{
    n->negative = *in->at == '-';
    in->at += n->negative;
    if (!json_at_digit(in))
        return json_fail(in, "expected a digit", in->at);
    if (*in->at == '0') {
        in->at++;
        if (json_at_digit(in))
            return json_fail(in, "number with a leading zero", in->at - 1);
    }
    read_digits(in, n);
    if (in->at < in->end && *in->at == '.') {
        const char *point = ++in->at;

        if (!json_at_digit(in))
            return json_fail(in, "expected a digit after the point", in->at);
        read_digits(in, n);
        n->exponent = (int)(point - in->at);
    }
    if (in->at < in->end && (*in->at | 32) == 'e')
        return read_exponent(in, n);
    return true;
}

/* Digits below 2^53 and a power of ten up to 22 are exact doubles, so one multiplication or
 * division rounds correctly. The rest, which is rare, goes through strtod().
 */
static bool fast_double(const struct number *n, double *d)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

    if (n->count > EXACT_DIGITS || n->digits > UINT64_C(1) << 53)
        return false;
    if (n->exponent < -22 || n->exponent > 22)
        return false;
    *d = n->exponent < 0 ? (double)n->digits / powers[-n->exponent]
                         : (double)n->digits * powers[n->exponent];
    return true;
}

static double slow_double(struct json_in *in, const char *start)
{
    locale_t old;
    double d;

    lua_pushlstring(in->L, start, (size_t)(in->at - start)); /* strtod() wants a NUL */
    old = uselocale(in->codec->c_locale);
    d = strtod(lua_tostring(in->L, -1), NULL);
    uselocale(old);
    lua_pop(in->L, 1);
    return d;
}

bool json_read_number(struct json_in *in)
{
    const char *start = in->at;
    struct number n = {0};
    double d;

    if (!scan_number(in, &n))
        return false;
    if (fast_double(&n, &d))
        d = n.negative ? -d : d;
    else
        d = slow_double(in, start);
    if (isinf(d))
        return json_fail(in, "number out of range", start);
    lua_pushnumber(in->L, d);
    return true;
}
