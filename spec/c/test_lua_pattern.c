/* Whether a text is a Lua pattern. */
#include "check.h"

#include <string.h>

#include "http/lua_pattern.h"

static void test_good(void)
{
    static const char *const good[] = {
        "",     "%d+", "[%a_][%w_]*", "[]]",  "[^]]", "[]a]+",      "[%]]", "[a-]",     "[[]",
        "%[%]", "()",  "(a(b)c)%1%2", "%b()", "%bxy", "%f[%w]%w+",  "%%",   "a.-b?$^*", "]",
        "}",    "[(]", "%(",          "%)",   "\xff", "(%a)(%d)%2",
    };

    for (size_t i = 0; i < LEN(good); i++)
        CHECK(lua_pattern_problem(str_of(good[i])) == NULL);
}

static void test_bad(void)
{
    static const struct {
        const char *pattern, *problem;
    } bad[] = {
        {"%", "ends with \"%\""},
        {"ab%", "ends with \"%\""},
        {"[", "a \"[\" without its \"]\""},
        {"[a", "a \"[\" without its \"]\""},
        {"[]", "a \"[\" without its \"]\""},
        {"[^]", "a \"[\" without its \"]\""},
        {"[a%]", "a \"[\" without its \"]\""},
        {"%b", "\"%b\" needs two characters"},
        {"%b(", "\"%b\" needs two characters"},
        {"%f", "\"%f\" needs a \"[\""},
        {"%fa", "\"%f\" needs a \"[\""},
        {"(", "a \"(\" without its \")\""},
        {"(a(b)", "a \"(\" without its \")\""},
        {")", "a \")\" without its \"(\""},
        {"(a))", "a \")\" without its \"(\""},
        {"%1", "a back reference to a capture that is not there"},
        {"%0", "a back reference to a capture that is not there"},
        {"(a%1)", "a back reference to a capture that is not there"},
        {"(a)%2", "a back reference to a capture that is not there"},
    };
    char many[34];

    for (size_t i = 0; i < LEN(bad); i++)
        CHECK_STR(lua_pattern_problem(str_of(bad[i].pattern)), bad[i].problem);
    memset(many, '(', 33);
    many[33] = '\0';
    CHECK_STR(lua_pattern_problem(str_of(many)), "more than 32 captures");
}

int main(void)
{
    test_good();
    test_bad();
    return 0;
}
