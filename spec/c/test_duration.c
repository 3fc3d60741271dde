#include "base/duration.h"

#include "check.h"

#define BAD UINT64_MAX

static const struct {
    const char *text;
    uint64_t want;
} durations[] =
    {
        {"0", 0},
        {"250ms", 250},
        {"30s", 30000},
        {"30", 30000},
        {"5m", 300000},
        {"1h", 3600000},
        {"7d", 604800000},
        {"2w", 1209600000},
        {"1y", 31536000000},
        {"0.25", 250},
        {"1.5h", 5400000},
        {"0.0009s", 0},
        {"0.33333333333333333333s", 333},
        {"000005", 5000},
        {"1H", 3600000},
        {"9223372036854775807ms", 9223372036854775807u},
        {"9223372036854775808ms", BAD},
        {"292471209y", BAD},
        {"99999999999999999999", BAD},
        {"18446744073709551616ms", BAD},
        {"", BAD},
        {"s", BAD},
        {"-1s", BAD},
        {"+1s", BAD},
        {" 1s", BAD},
        {"1 s", BAD},
        {"1s ", BAD},
        {"1.s", BAD},
        {".5s", BAD},
        {"1.2.3s", BAD},
        {"1x", BAD},
        {"1min", BAD},
        {"5kb", BAD},
        {"1e3", BAD},
        {"never", BAD},
},
  sizes[] = {
      {"0", 0},
      {"1024", 1024},
      {"10b", 10},
      {"10kb", 10240},
      {"10mb", 10485760},
      {"1gb", 1073741824},
      {"64MB", 67108864},
      {"1.5kb", 1536},
      {"0.5", 0},
      {"8589934591gb", 9223372035781033984u},
      {"8589934592gb", BAD},
      {"", BAD},
      {"10k", BAD},
      {"10 mb", BAD},
      {"-1kb", BAD},
      {"mb", BAD},
      {"1tb", BAD},
      {"5s", BAD},
};

int main(void)
{
    for (size_t i = 0; i < LEN(durations); i++) {
        uint64_t got = BAD;
        const bool ok = duration_parse(str_of(durations[i].text), &got);
        if (got != durations[i].want || ok != (durations[i].want != BAD))
            fprintf(stderr, "duration \"%s\": %llu\n", durations[i].text, (unsigned long long)got);
        CHECK(got == durations[i].want && ok == (durations[i].want != BAD));
    }
    for (size_t i = 0; i < LEN(sizes); i++) {
        size_t got = BAD;
        const bool ok = size_parse(str_of(sizes[i].text), &got);
        if (got != sizes[i].want || ok != (sizes[i].want != BAD))
            fprintf(stderr, "size \"%s\": %zu\n", sizes[i].text, got);
        CHECK(got == sizes[i].want && ok == (sizes[i].want != BAD));
    }
    printf("ok %zu cases\n", LEN(durations) + LEN(sizes));
    return 0;
}
