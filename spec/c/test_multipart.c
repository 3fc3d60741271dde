/* multipart/form-data: whole, in pieces of every size, hostile. */
#include "http/multipart.h"

#include "check.h"

#define BYTES(literal)               \
    {                                \
        literal, sizeof(literal) - 1 \
    }
#define HEAD_A "Content-Disposition: form-data; name=\"a\"\r\n\r\n"
#define NAMED "Content-Disposition: form-data; name=\"f\"; filename="
#define TYPED "\r\nContent-Type: x/y\r\n\r\n"
#define FILE_F(filename) NAMED filename TYPED

/* What was told, as text: "name|filename|type=data;" for each part. */
struct told {
    char text[4096];
    size_t len;
    const char *problem;
};

static void put(struct told *told, struct str s)
{
    CHECK(told->len + s.len < sizeof(told->text));
    if (s.len)
        memcpy(told->text + told->len, s.at, s.len);
    told->len += s.len;
    told->text[told->len] = '\0';
}

static void put_part(struct told *told, const struct multipart_part *part)
{
    put(told, part->name);
    put(told, STR("|"));
    put(told, part->filename.at ? part->filename : STR("-"));
    put(told, STR("|"));
    put(told, part->type.at ? part->type : STR("-"));
    put(told, STR("="));
}

static bool feed(struct multipart *m, struct str piece, struct told *told)
{
    for (;;) {
        switch (multipart_next(m, &piece)) {
        case MULTIPART_MORE:
            CHECK(piece.len == 0);
            return true;
        case MULTIPART_PART:
            put_part(told, multipart_part(m));
            break;
        case MULTIPART_DATA:
            CHECK(multipart_data(m).len > 0);
            put(told, multipart_data(m));
            break;
        case MULTIPART_PART_END:
            put(told, STR(";"));
            break;
        case MULTIPART_END:
            return false;
        case MULTIPART_BAD:
            return false;
        }
    }
}

/* Each piece is a copy of its own: ASan sees whoever reads on, or keeps it. */
static void read_in_pieces(struct str body, size_t size, struct told *told)
{
    struct multipart *m = multipart_new(STR("B"));
    static char problem[200];
    bool more = true;

    *told = (struct told){.len = 0};
    for (size_t at = 0; more && at < body.len; at += size) {
        const size_t len = body.len - at < size ? body.len - at : size;
        char *copy = malloc(len);

        CHECK(copy != NULL);
        memcpy(copy, body.at + at, len);
        more = feed(m, (struct str){copy, len}, told);
        free(copy);
    }
    if (!multipart_end(m)) {
        snprintf(problem, sizeof(problem), "%s", multipart_problem(m));
        told->problem = problem;
    }
    multipart_free(m);
}

static const struct {
    struct str body;
    const char *told, *problem;
} bodies[] = {
    {BYTES("--B--"), "", NULL},
    {BYTES("--B--\r\nepilogue --B"), "", NULL},
    {BYTES("pre\r\n--Amble\r\n--B\r\n" HEAD_A "1\r\n--B--\r\n"), "a|-|-=1;", NULL},
    {BYTES("--B\r\n" HEAD_A "1\r\n--B\r\n" HEAD_A "\r\n--B--"), "a|-|-=1;a|-|-=;", NULL},
    {BYTES("--B \t\r\n" HEAD_A "--B--"), "a|-|-=;", NULL},
    {BYTES("--B\r\n" HEAD_A "--x\r\n--\r\n-\r\r\n--C--\r\n--B--"),
     "a|-|-=--x\r\n--\r\n-\r\r\n--C--;", NULL},
    {BYTES("--B\r\n" HEAD_A "--\r\n--B--"), "a|-|-=--;", NULL},
    {BYTES("--B\r\n" FILE_F("\"p\"") "da\r\nta\r\n--B--"), "f|p|x/y=da\r\nta;", NULL},
    {BYTES(""), "", "the first boundary is missing"},
    {BYTES("--"), "", "the first boundary is missing"},
    {BYTES("x--B--"), "", "the first boundary is missing"},
    {BYTES("--B"), "", "a boundary is not followed by a line end"},
    {BYTES("--B-"), "", "a boundary is not followed by a line end"},
    {BYTES("--B-\r\n"), "", "a boundary is not followed by a line end"},
    {BYTES("--B\rx"), "", "a boundary is not followed by a line end"},
    {BYTES("--Bxyz\r\n\r\n--B--"), "", "a boundary is not followed by a line end"},
    {BYTES("--B\r\nA: b"), "", "the headers of a part do not end"},
    {BYTES("--B\r\n" HEAD_A "x"), "a|-|-=x", "the last boundary is missing"},
    {BYTES("--B\r\n\r\nx\r\n--B--"), "", "a part has no name"},
    {BYTES("--B\r\nContent-Disposition: file; name=a\r\n\r\n--B--"), "", "a part has no name"},
};

static void check_body(size_t i, size_t size)
{
    static struct told told;
    /* An end that looked like a boundary is given late, or, at the very end, not at all. */
    const bool cut =
        bodies[i].problem && strcmp(bodies[i].problem, "the last boundary is missing") == 0;

    read_in_pieces(bodies[i].body, size, &told);
    if (!cut)
        CHECK_STR(told.text, bodies[i].told);
    if (bodies[i].problem)
        CHECK_STR(told.problem, bodies[i].problem);
    else
        CHECK(told.problem == NULL);
}

static void test_bodies(void)
{
    for (size_t i = 0; i < LEN(bodies); i++) {
        for (size_t size = 1; size <= bodies[i].body.len + 1; size++)
            check_body(i, size);
    }
}

static const struct {
    const char *filename, *raw, *base;
} names[] = {
    {"\"a.txt\"", "a.txt", "a.txt"},
    {"a.txt", "a.txt", "a.txt"},
    {"\"\"", "", ""},
    {"\"../../x\"", "../../x", "x"},
    {"\"/etc/passwd\"", "/etc/passwd", "passwd"},
    {"\"..\\..\\x\"", "..\\..\\x", "x"},
    {"\"C:\\dir\\a.txt\"", "C:\\dir\\a.txt", "a.txt"},
    {"\"..\"", "..", ""},
    {"\"a/..\"", "a/..", ""},
    {"\"dir/\"", "dir/", ""},
    {"\"a%22b%0D%0Ac\"", "a\"b\r\nc", "a\"bc"},
    {"\"a%2e%2e%2fb\"", "a%2e%2e%2fb", "a%2e%2e%2fb"},
    {"\"a\\\"b\\\\c\"", "a\"b\\c", "c"},
    {"\"open", "open", "open"},
    {"\"\xC3\xA9.txt\"", "\xC3\xA9.txt", "\xC3\xA9.txt"},
    {"\"\xC3(\xFF.txt\"", "\xC3(\xFF.txt", "\xEF\xBF\xBD(\xEF\xBF\xBD.txt"},
    {"\"a\xC2\x85"
     "b\x7F\"",
     "a\xC2\x85"
     "b\x7F",
     "ab"},
    {"x; filename*=UTF-8''%C3%A9.txt", "\xC3\xA9.txt", "\xC3\xA9.txt"},
    {"x; filename*=utf-8'en'..%2F..%2Fe%00.txt", NULL, "e.txt"},
    {"x; filename*=latin1''%E9.txt", "x", "x"},
    {"x; filename*=UTF-8", "x", "x"},
    {"x; filename*=UTF-8''%", "%", "%"},
    {"first; filename=second", "first", "first"},
};

static void check_name(size_t i)
{
    struct multipart *m = multipart_new(STR("B"));
    char body[400], raw[400], base[MULTIPART_NAME_MAX + 1];
    const struct multipart_part *part;
    struct str piece;

    snprintf(body, sizeof(body), "--B\r\n" FILE_F("%s") "d\r\n--B--", names[i].filename);
    piece = str_of(body);
    CHECK(multipart_next(m, &piece) == MULTIPART_PART);
    part = multipart_part(m);
    CHECK(part->filename.at != NULL);
    snprintf(raw, sizeof(raw), "%.*s", (int)part->filename.len, part->filename.at);
    if (names[i].raw)
        CHECK_STR(raw, names[i].raw);
    CHECK(multipart_basename(part->filename, base) == strlen(names[i].base));
    CHECK_STR(base, names[i].base);
    multipart_free(m);
}

static void test_names(void)
{
    char base[MULTIPART_NAME_MAX + 1], lengthy[2000];

    for (size_t i = 0; i < LEN(names); i++)
        check_name(i);
    CHECK(multipart_basename((struct str){".\0.", 3}, base) == 0);
    CHECK(multipart_basename((struct str){"a\0b", 3}, base) == 2);
    for (size_t i = 0; i < sizeof(lengthy); i += 2)
        memcpy(lengthy + i, "\xC3\xA9", 2); /* no character is cut in two */
    CHECK(multipart_basename((struct str){lengthy, sizeof(lengthy)}, base) == 254);
}

static void test_content_types(void)
{
    struct str b;

    CHECK(multipart_boundary(STR("multipart/form-data; boundary=abc"), &b) &&
          str_equal(b, STR("abc")));
    CHECK(
        multipart_boundary(STR(" Multipart/Form-Data;a=\"; boundary=x\"; BOUNDARY=\"a b\""), &b) &&
        str_equal(b, STR("a b")));
    CHECK(!multipart_boundary(STR("multipart/form-data; xboundary=a"), &b));
    CHECK(!multipart_boundary(STR("multipart/form-data; boundary=\"\""), &b));
    CHECK(!multipart_boundary(STR("multipart/form-data; boundary=\"a\r\nb\""), &b));
    CHECK(!multipart_boundary(STR("text/plain; boundary=a"), &b));
    CHECK(multipart_is(STR("multipart/form-data")) && !multipart_is(STR("multipart/form-data2")));
}

static void test_find(void)
{
    const struct str type = STR("multipart/form-data; boundary=B");
    const struct str body = STR("--B\r\n" HEAD_A "1\r\n--B\r\n" FILE_F(
        "\"../p.tgz\"") "-da\0ta\r\n--B\r\n" FILE_F("\"q\"") "other\r\n--B--");
    struct multipart_file file;
    struct err err;

    CHECK(multipart_find(type, body, STR("f"), &file, &err));
    CHECK_STR(file.filename, "p.tgz");
    CHECK(str_equal(file.data, STR("-da\0ta")));
    CHECK(file.data.at > body.at && file.data.at < body.at + body.len); /* borrowed */
    CHECK(!multipart_find(type, body, STR("a"), &file, &err));          /* a field */
    CHECK_STR(err.message, "the form has no file \"a\"");
    CHECK_STR(err.code, "INVALID_FORM");
    CHECK(!multipart_find(type, (struct str){body.at, body.len - 4}, STR("f"), &file, &err));
    CHECK_STR(err.message, "the last boundary is missing");
    CHECK(!multipart_find(STR("text/plain"), body, STR("f"), &file, &err));
    CHECK(!multipart_find(STR("multipart/form-data"), body, STR("f"), &file, &err));
    CHECK(multipart_find(type, STR("--B\r\n" FILE_F("\"\"") "\r\n--B--"), STR("f"), &file, &err));
    CHECK(file.data.len == 0 && file.data.at);
}

int main(void)
{
    test_bodies();
    test_names();
    test_content_types();
    test_find();
    return 0;
}
