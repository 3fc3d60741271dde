/* The names of SQLite's result codes. */
#include "data/sqlite_impl.h"

struct code {
    int number;
    const char *name;
};

#define CODE(name)     \
    {                  \
        (name), #name, \
    }

/* Extended codes that a program may want to tell apart come first. */
static const struct code codes[] = {
    CODE(SQLITE_CONSTRAINT_CHECK),
    CODE(SQLITE_CONSTRAINT_DATATYPE),
    CODE(SQLITE_CONSTRAINT_FOREIGNKEY),
    CODE(SQLITE_CONSTRAINT_NOTNULL),
    CODE(SQLITE_CONSTRAINT_PRIMARYKEY),
    CODE(SQLITE_CONSTRAINT_ROWID),
    CODE(SQLITE_CONSTRAINT_TRIGGER),
    CODE(SQLITE_CONSTRAINT_UNIQUE),
    CODE(SQLITE_ABORT),
    CODE(SQLITE_AUTH),
    CODE(SQLITE_BUSY),
    CODE(SQLITE_CANTOPEN),
    CODE(SQLITE_CONSTRAINT),
    CODE(SQLITE_CORRUPT),
    CODE(SQLITE_ERROR),
    CODE(SQLITE_FULL),
    CODE(SQLITE_INTERNAL),
    CODE(SQLITE_INTERRUPT),
    CODE(SQLITE_IOERR),
    CODE(SQLITE_LOCKED),
    CODE(SQLITE_MISMATCH),
    CODE(SQLITE_MISUSE),
    CODE(SQLITE_NOLFS),
    CODE(SQLITE_NOMEM),
    CODE(SQLITE_NOTADB),
    CODE(SQLITE_PERM),
    CODE(SQLITE_PROTOCOL),
    CODE(SQLITE_RANGE),
    CODE(SQLITE_READONLY),
    CODE(SQLITE_SCHEMA),
    CODE(SQLITE_TOOBIG),
};

const char *sqlite_code_name(int extended)
{
    const int numbers[] = {extended, extended & 0xff};

    for (size_t n = 0; n < 2; n++) {
        for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
            if (codes[i].number == numbers[n])
                return codes[i].name;
        }
    }
    return "SQLITE_ERROR";
}
