#include "conf/yaml.h"

#include <stdlib.h>

#include <yaml.h>

#include "base/buf.h"
#include "base/mem.h"

/* An alias costs a few bytes and may stand for a whole tree, so what is bounded is the number of
 * values after all aliases are followed.
 */
enum { DEPTH_MAX = 64, NODES_MAX = 100000, ANCHORS_MAX = 1000 };

struct anchor {
    char *name;
    struct value *value; /* NULL while it is being read */
    size_t nodes;
    unsigned height;
};

struct reader {
    struct arena *arena;
    const char *file, *code;
    struct problems *problems;
    struct str text;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    struct anchor *anchors;
    size_t anchor_count, nodes;
};

/* What a collection is made of while its length is not known. */
struct children {
    struct value_entry *items;
    size_t len, cap;
};

struct node {
    struct value *value; /* NULL: reading ends */
    unsigned height;     /* levels below and including this one */
};

static struct node read_node(struct reader *r, unsigned depth, const char *what);

static void report(struct reader *r, yaml_mark_t mark, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void report(struct reader *r, yaml_mark_t mark, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    problems_vadd(r->problems, false, r->code, r->file, (unsigned)mark.line + 1,
                  (unsigned)mark.column + 1, fmt, args);
    va_end(args);
}

/* The reader of bytes has no mark, only an offset. */
static yaml_mark_t mark_at(struct str text, size_t offset)
{
    yaml_mark_t mark = {0};

    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.at[i] == '\n') {
            mark.line++;
            mark.column = 0;
        } else if (((unsigned char)text.at[i] & 0xC0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

static bool is_tab(const struct reader *r)
{
    const size_t at = r->parser.problem_mark.index;

    /* The index counts characters; it only helps when every one before was a single byte. */
    return at < r->text.len && r->text.at[at] == '\t';
}

static void report_syntax(struct reader *r)
{
    const yaml_parser_t *parser = &r->parser;
    const char *problem = parser->problem ? parser->problem : "not YAML";

    if (parser->error == YAML_READER_ERROR)
        report(r, mark_at(r->text, parser->problem_offset), "invalid YAML: %s", problem);
    else if (is_tab(r))
        report(r, parser->problem_mark, "invalid YAML: a tab where only spaces may indent");
    else if (parser->context)
        report(r, parser->problem_mark, "invalid YAML: %s (%s, from line %zu)", problem,
               parser->context, parser->context_mark.line + 1);
    else
        report(r, parser->problem_mark, "invalid YAML: %s", problem);
}

static bool next(struct reader *r)
{
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event))
        return true;
    report_syntax(r);
    return false;
}

static struct value *new_value(struct reader *r, enum value_type type)
{
    struct value *value = arena_alloc(r->arena, sizeof(*value));

    value->type = type;
    value->line = (unsigned)r->event.start_mark.line + 1;
    value->column = (unsigned)r->event.start_mark.column + 1;
    return value;
}

/* Scalars */

static bool is_one_of(struct str text, const char *const *words)
{
    for (; *words; words++) {
        if (str_equal(text, str_of(*words)))
            return true;
    }
    return false;
}

static const char *const null_words[] = {"", "~", "null", "Null", "NULL", NULL};
static const char *const true_words[] = {"true", "True", "TRUE", NULL};
static const char *const false_words[] = {"false", "False", "FALSE", NULL};

static void set_string(struct reader *r, struct value *value, struct str text)
{
    value->type = VALUE_STRING;
    value->string = (struct str){arena_copy(r->arena, text), text.len};
    if (text.len && memchr(text.at, '\0', text.len))
        report(r, r->event.start_mark, "a string with a NUL character");
}

static void resolve_plain(struct reader *r, struct value *value, struct str text)
{
    double number;
    const enum yaml_number kind = yaml_number(text, &number);

    if (is_one_of(text, null_words)) {
        value->type = VALUE_NULL;
    } else if (is_one_of(text, true_words) || is_one_of(text, false_words)) {
        value->type = VALUE_BOOL;
        value->boolean = is_one_of(text, true_words);
    } else if (kind == YAML_NUMBER) {
        value->type = VALUE_NUMBER;
        value->number = number;
    } else {
        set_string(r, value, text);
    }
    if (kind == YAML_NUMBER_TOO_LARGE)
        report(r, r->event.start_mark,
               "%.*s is more than a number can hold exactly; write it in quotes to keep its digits",
               text.len < 80 ? (int)text.len : 80, text.at);
}

static const struct {
    const char *tag;
    enum value_type type;
} tags[] = {
    {YAML_STR_TAG, VALUE_STRING}, {YAML_BOOL_TAG, VALUE_BOOL},    {YAML_INT_TAG, VALUE_NUMBER},
    {YAML_NULL_TAG, VALUE_NULL},  {YAML_FLOAT_TAG, VALUE_NUMBER}, {YAML_SEQ_TAG, VALUE_LIST},
    {YAML_MAP_TAG, VALUE_MAP},
};

/* Whether the tag, if there is one, allows a value of this type. */
static void check_tag(struct reader *r, const yaml_char_t *tag, enum value_type type)
{
    if (!tag || strcmp((const char *)tag, "!") == 0)
        return;
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        if (strcmp((const char *)tag, tags[i].tag) != 0)
            continue;
        if (tags[i].type != type)
            report(r, r->event.start_mark, "tagged as %s, but it is %s",
                   value_type_name(tags[i].type), value_type_name(type));
        return;
    }
    report(r, r->event.start_mark, "unknown tag \"%s\"", (const char *)tag);
}

static struct value *read_scalar(struct reader *r, const char *what)
{
    const struct str text = {(const char *)r->event.data.scalar.value, r->event.data.scalar.length};
    const yaml_char_t *tag = r->event.data.scalar.tag;
    struct value *value = new_value(r, VALUE_STRING);
    const bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    const bool as_string = tag && (strcmp((const char *)tag, YAML_STR_TAG) == 0 ||
                                   strcmp((const char *)tag, "!") == 0);

    if (as_string || (!plain && !tag))
        set_string(r, value, text);
    else
        resolve_plain(r, value, text);
    check_tag(r, tag, value->type);
    if (value->type == VALUE_NULL)
        report(r, r->event.start_mark, "%s is null; give it a value or leave it out", what);
    return value;
}

/* Collections */

static void children_add(struct children *list, struct value_entry item)
{
    if (list->len == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 8;
        list->items = mem_resize(list->items, list->cap * sizeof(*list->items));
    }
    list->items[list->len++] = item;
}

static unsigned higher(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

static bool read_items(struct reader *r, unsigned depth, struct children *list, unsigned *height)
{
    for (;;) {
        struct node node;

        if (!next(r))
            return false;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return true;
        node = read_node(r, depth + 1, "a list item");
        if (!node.value)
            return false;
        *height = higher(*height, node.height + 1);
        children_add(list, (struct value_entry){.value = node.value});
    }
}

static struct node read_list(struct reader *r, unsigned depth)
{
    struct value *value = new_value(r, VALUE_LIST);
    struct children list = {0};
    unsigned height = 1;

    check_tag(r, r->event.data.sequence_start.tag, VALUE_LIST);
    if (!read_items(r, depth, &list, &height)) {
        free(list.items);
        return (struct node){0};
    }
    value->list.len = list.len;
    value->list.items = arena_alloc(r->arena, list.len * sizeof(struct value *));
    for (size_t i = 0; i < list.len; i++)
        value->list.items[i] = list.items[i].value;
    free(list.items);
    return (struct node){value, height};
}

static bool read_key(struct reader *r, struct value_entry *entry)
{
    const struct str text = {(const char *)r->event.data.scalar.value, r->event.data.scalar.length};
    bool plain;

    if (r->event.type != YAML_SCALAR_EVENT) {
        report(r, r->event.start_mark, "a key must be a string");
        return false;
    }
    plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !r->event.data.scalar.tag;
    if (plain && is_one_of(text, null_words))
        report(r, r->event.start_mark, "a key must be a string, not null");
    if (text.len && memchr(text.at, '\0', text.len))
        report(r, r->event.start_mark, "a key with a NUL character");
    entry->key = (struct str){arena_copy(r->arena, text), text.len};
    entry->line = (unsigned)r->event.start_mark.line + 1;
    entry->column = (unsigned)r->event.start_mark.column + 1;
    return true;
}

static bool read_entries(struct reader *r, unsigned depth, struct children *list, unsigned *height)
{
    for (;;) {
        struct value_entry entry = {0};
        struct node node;
        char *what;

        if (!next(r))
            return false;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return true;
        if (!read_key(r, &entry) || !next(r))
            return false;
        what = mem_printf("\"%s\"", entry.key.at);
        node = read_node(r, depth + 1, what);
        free(what);
        if (!node.value)
            return false;
        entry.value = node.value;
        *height = higher(*height, node.height + 1);
        children_add(list, entry);
    }
}

static int compare_entries(const void *a, const void *b)
{
    const struct value_entry *const *x = a, *const *y = b;
    const int by = strcmp((*x)->key.at, (*y)->key.at);

    if (by)
        return by;
    return (*x > *y) - (*x < *y); /* all in one array, in the order of the file */
}

static void report_duplicates(struct reader *r, const struct children *list)
{
    const struct value_entry **sorted = mem_alloc(list->len * sizeof(*sorted));

    for (size_t i = 0; i < list->len; i++)
        sorted[i] = &list->items[i];
    qsort(sorted, list->len, sizeof(*sorted), compare_entries);
    for (size_t i = 1; i < list->len; i++) {
        const struct value_entry *first = sorted[i - 1], *again = sorted[i];
        if (strcmp(first->key.at, again->key.at) == 0)
            report(r, (yaml_mark_t){.line = again->line - 1, .column = again->column - 1},
                   "duplicate key \"%s\" (also on line %u)", again->key.at, first->line);
    }
    free(sorted);
}

static struct node read_map(struct reader *r, unsigned depth)
{
    struct value *value = new_value(r, VALUE_MAP);
    struct children list = {0};
    unsigned height = 1;

    check_tag(r, r->event.data.mapping_start.tag, VALUE_MAP);
    if (!read_entries(r, depth, &list, &height)) {
        free(list.items);
        return (struct node){0};
    }
    report_duplicates(r, &list);
    value->map.len = list.len;
    value->map.entries = arena_alloc(r->arena, list.len * sizeof(struct value_entry));
    if (list.len)
        memcpy(value->map.entries, list.items, list.len * sizeof(struct value_entry));
    free(list.items);
    return (struct node){value, height};
}

/* Anchors and aliases */

static struct node follow_alias(struct reader *r, unsigned depth)
{
    const char *name = (const char *)r->event.data.alias.anchor;

    for (size_t i = r->anchor_count; i > 0; i--) {
        const struct anchor *anchor = &r->anchors[i - 1];
        if (strcmp(anchor->name, name) != 0)
            continue;
        if (!anchor->value) {
            report(r, r->event.start_mark, "the alias *%s lies inside its own anchor", name);
            return (struct node){0};
        }
        r->nodes += anchor->nodes;
        if (depth + anchor->height - 1 > DEPTH_MAX) {
            report(r, r->event.start_mark, "nested deeper than %d levels", DEPTH_MAX);
            return (struct node){0};
        }
        return (struct node){anchor->value, anchor->height};
    }
    report(r, r->event.start_mark, "unknown alias *%s", name);
    return (struct node){0};
}

static bool open_anchor(struct reader *r, const yaml_char_t *name, size_t *index)
{
    *index = r->anchor_count;
    if (!name)
        return true;
    if (r->anchor_count == ANCHORS_MAX) {
        report(r, r->event.start_mark, "more than %d anchors", ANCHORS_MAX);
        return false;
    }
    r->anchors = mem_resize(r->anchors, (r->anchor_count + 1) * sizeof(*r->anchors));
    r->anchors[r->anchor_count++] = (struct anchor){.name = mem_copy((const char *)name)};
    return true;
}

static const yaml_char_t *event_anchor(const yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT)
        return event->data.scalar.anchor;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        return event->data.sequence_start.anchor;
    return event->data.mapping_start.anchor;
}

static struct node read_anchored(struct reader *r, unsigned depth, const char *what)
{
    const bool anchored = event_anchor(&r->event) != NULL;
    const size_t before = r->nodes++;
    struct node node;
    size_t index;

    if (!open_anchor(r, event_anchor(&r->event), &index))
        return (struct node){0};
    if (r->event.type == YAML_SCALAR_EVENT)
        node = (struct node){read_scalar(r, what), 1};
    else if (r->event.type == YAML_SEQUENCE_START_EVENT)
        node = read_list(r, depth);
    else
        node = read_map(r, depth);
    if (anchored && node.value) {
        r->anchors[index].value = node.value;
        r->anchors[index].nodes = r->nodes - before;
        r->anchors[index].height = node.height;
    }
    return node;
}

/* The value that starts with the current event. `what` is what a message calls it. */
static struct node read_node(struct reader *r, unsigned depth, const char *what)
{
    const yaml_mark_t mark = r->event.start_mark;
    struct node node;

    if (depth > DEPTH_MAX) {
        report(r, mark, "nested deeper than %d levels", DEPTH_MAX);
        return (struct node){0};
    }
    if (r->event.type == YAML_ALIAS_EVENT)
        node = follow_alias(r, depth);
    else
        node = read_anchored(r, depth, what);
    if (node.value && r->nodes > NODES_MAX) {
        report(r, mark, "more than %d values, aliases followed", NODES_MAX);
        return (struct node){0};
    }
    return node;
}

/* One document and nothing behind it. */
static struct value *read_document(struct reader *r)
{
    struct node node;

    if (!next(r) || !next(r) || r->event.type != YAML_DOCUMENT_START_EVENT || !next(r))
        return NULL;
    node = read_node(r, 1, "the document");
    if (!node.value || !next(r) || !next(r))
        return NULL;
    if (r->event.type == YAML_DOCUMENT_START_EVENT)
        report(r, r->event.start_mark, "a second document; a manifest is a single one");
    return node.value;
}

const struct value *yaml_read(struct arena *arena,
                              struct str text,
                              const char *file,
                              const char *code,
                              struct problems *problems)
{
    static const struct str mark = {"\xEF\xBB\xBF", 3}; /* a byte order mark is no column */
    const size_t skip = str_starts(text, mark) ? mark.len : 0;
    struct reader r = {.arena = arena,
                       .file = file,
                       .code = code,
                       .problems = problems,
                       .text = {text.at + skip, text.len - skip}};
    struct value *root;

    yaml_parser_initialize(&r.parser);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text.at, r.text.len);
    root = read_document(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    for (size_t i = 0; i < r.anchor_count; i++)
        free(r.anchors[i].name);
    free(r.anchors);
    return root;
}
