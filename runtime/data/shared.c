#include "data/shared.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/siphash.h"
#include "ev/loop.h"

enum {
    SLOTS_MIN = 64,
    MOVE_SLOTS = 4,       /* of the old table, with each operation */
    EXPIRE_AT_ONCE = 256, /* then other work gets its turn */
    NOT_IN_HEAP = -1,
};

struct entry {
    struct entry *next; /* in its slot */
    uint64_t hash;
    uint64_t due_ms; /* when it expires */
    ptrdiff_t heap;  /* its place there, or NOT_IN_HEAP */
    enum shared_type type;
    double number;
    bool flag;
    size_t key_len, text_len;
    char *text;
    char key[];
};

struct table {
    struct entry **slots;
    size_t mask, count;
};

struct shared {
    struct loop *loop;
    uint64_t seed[2];
    struct table table, old; /* `old` is emptied step by step; `slots` NULL: there is none */
    size_t moved;            /* slots of `old` that are empty */
    size_t bytes, limit;
    struct entry **heap; /* by due_ms, those that expire */
    size_t heap_len, heap_cap;
    struct timer timer; /* for the first of the heap */
    struct shared_watch *watches;
};

static uint64_t now_ms(void)
{
    return clock_now_ns() / 1000000;
}

/* --- the table --- */

static void table_init(struct table *table, size_t slots)
{
    table->slots = mem_alloc(slots * sizeof(*table->slots));
    table->mask = slots - 1;
    table->count = 0;
}

static void table_put(struct table *table, struct entry *entry)
{
    struct entry **slot = &table->slots[entry->hash & table->mask];

    entry->next = *slot;
    *slot = entry;
    table->count++;
}

static void move_some(struct shared *shared)
{
    if (!shared->old.slots)
        return;
    for (int i = 0; i < MOVE_SLOTS && shared->moved <= shared->old.mask; i++) {
        struct entry **slot = &shared->old.slots[shared->moved++];
        while (*slot) {
            struct entry *entry = *slot;
            *slot = entry->next;
            shared->old.count--;
            table_put(&shared->table, entry);
        }
    }
    if (shared->moved > shared->old.mask) {
        free(shared->old.slots);
        shared->old.slots = NULL;
    }
}

static void grow(struct shared *shared)
{
    if (shared->old.slots || shared->table.count <= shared->table.mask)
        return;
    shared->old = shared->table;
    shared->moved = 0;
    table_init(&shared->table, 2 * (shared->old.mask + 1));
}

static struct entry **find_in(struct table *table, uint64_t hash, struct str key)
{
    struct entry **at = &table->slots[hash & table->mask];

    while (*at &&
           !((*at)->hash == hash && str_equal((struct str){(*at)->key, (*at)->key_len}, key)))
        at = &(*at)->next;
    return *at ? at : NULL;
}

/* Where the entry hangs; NULL: there is none. */
static struct entry **
find(struct shared *shared, uint64_t hash, struct str key, struct table **table)
{
    struct entry **at = find_in(&shared->table, hash, key);

    *table = &shared->table;
    if (at || !shared->old.slots)
        return at;
    *table = &shared->old;
    return find_in(&shared->old, hash, key);
}

/* --- the heap of those that expire --- */

static void heap_place(struct shared *shared, size_t at, struct entry *entry)
{
    shared->heap[at] = entry;
    entry->heap = (ptrdiff_t)at;
}

static void sift_up(struct shared *shared, size_t at, struct entry *entry)
{
    while (at > 0 && entry->due_ms < shared->heap[(at - 1) / 2]->due_ms) {
        heap_place(shared, at, shared->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_place(shared, at, entry);
}

static void sift_down(struct shared *shared, size_t at, struct entry *entry)
{
    for (size_t child; (child = 2 * at + 1) < shared->heap_len; at = child) {
        if (child + 1 < shared->heap_len &&
            shared->heap[child + 1]->due_ms < shared->heap[child]->due_ms)
            child++;
        if (entry->due_ms <= shared->heap[child]->due_ms)
            break;
        heap_place(shared, at, shared->heap[child]);
    }
    heap_place(shared, at, entry);
}

static void heap_remove(struct shared *shared, struct entry *entry)
{
    const size_t at = (size_t)entry->heap;
    struct entry *last;

    if (entry->heap == NOT_IN_HEAP)
        return;
    entry->heap = NOT_IN_HEAP;
    last = shared->heap[--shared->heap_len];
    if (last == entry)
        return;
    sift_down(shared, at, last);
    sift_up(shared, (size_t)last->heap, last);
}

static void heap_add(struct shared *shared, struct entry *entry)
{
    if (shared->heap_len == shared->heap_cap) {
        shared->heap_cap = shared->heap_cap ? 2 * shared->heap_cap : 64;
        shared->heap = mem_resize(shared->heap, shared->heap_cap * sizeof(*shared->heap));
    }
    sift_up(shared, shared->heap_len++, entry);
}

/* --- entries --- */

static size_t size_of(size_t key_len, size_t text_len)
{
    /* Its share of slots and heap, and what malloc adds. */
    return sizeof(struct entry) + 2 * sizeof(void *) + 32 + key_len + text_len;
}

static struct str key_of(const struct entry *entry)
{
    return (struct str){entry->key, entry->key_len};
}

static struct shared_value value_of(const struct entry *entry)
{
    return (struct shared_value){
        entry->type, {entry->text, entry->text_len}, entry->number, entry->flag};
}

static void tell(struct shared *shared, struct str key, const struct shared_value *value)
{
    for (struct shared_watch *watch = shared->watches; watch; watch = watch->next) {
        if (str_starts(key, watch->prefix))
            watch->changed(watch, key, value);
    }
}

static void free_entry(struct entry *entry)
{
    free(entry->text);
    free(entry);
}

static void remove_at(struct shared *shared, struct table *table, struct entry **at)
{
    struct entry *entry = *at;

    *at = entry->next;
    table->count--;
    heap_remove(shared, entry);
    shared->bytes -= size_of(entry->key_len, entry->text_len);
    tell(shared, key_of(entry), NULL);
    free_entry(entry);
}

/* The live entry of a key; one that has expired is removed. */
static struct entry *lookup(struct shared *shared, struct str key)
{
    struct table *table;
    struct entry **at = find(shared, siphash(shared->seed, key), key, &table);

    if (!at)
        return NULL;
    if ((*at)->heap == NOT_IN_HEAP || (*at)->due_ms > now_ms())
        return *at;
    remove_at(shared, table, at);
    return NULL;
}

static struct entry *new_entry(struct shared *shared, struct str key)
{
    struct entry *entry = mem_alloc(sizeof(*entry) + key.len);

    entry->hash = siphash(shared->seed, key);
    entry->heap = NOT_IN_HEAP;
    entry->key_len = key.len;
    memcpy(entry->key, key.at, key.len);
    shared->bytes += size_of(key.len, 0);
    table_put(&shared->table, entry);
    grow(shared);
    return entry;
}

static void fill(struct shared *shared, struct entry *entry, const struct shared_value *value)
{
    const struct str text = value->type <= SHARED_JSON ? value->text : (struct str){NULL, 0};
    char *copy = text.len ? mem_copy_n(text.at, text.len) : NULL;

    shared->bytes += text.len - entry->text_len;
    free(entry->text);
    entry->text = copy;
    entry->text_len = text.len;
    entry->type = value->type;
    entry->number = value->number;
    entry->flag = value->flag;
}

/* --- expiry --- */

static void start_timer(struct shared *shared)
{
    const uint64_t now = now_ms();

    if (!shared->loop)
        return;
    if (shared->heap_len == 0) {
        timer_stop(&shared->timer);
    } else {
        const uint64_t due = shared->heap[0]->due_ms;
        timer_start(shared->loop, &shared->timer, due > now ? due - now : 0);
    }
}

static void expire(struct shared *shared)
{
    const uint64_t now = now_ms();

    for (int i = 0; i < EXPIRE_AT_ONCE && shared->heap_len > 0; i++) {
        struct entry *entry = shared->heap[0], **at;
        struct table *table;

        if (entry->due_ms > now)
            return;
        at = find(shared, entry->hash, key_of(entry), &table);
        remove_at(shared, table, at);
    }
}

static void on_timer(struct timer *timer)
{
    struct shared *shared = (struct shared *)((char *)timer - offsetof(struct shared, timer));

    expire(shared);
    start_timer(shared);
}

static void set_due(struct shared *shared, struct entry *entry, uint64_t ttl_ms)
{
    const struct entry *first = shared->heap_len ? shared->heap[0] : NULL;

    heap_remove(shared, entry);
    if (ttl_ms) {
        entry->due_ms = now_ms() + ttl_ms;
        heap_add(shared, entry);
    }
    if (first != (shared->heap_len ? shared->heap[0] : NULL) || first == entry)
        start_timer(shared);
}

/* --- the whole --- */

struct shared *shared_new(struct loop *loop, size_t limit)
{
    struct shared *shared = mem_alloc(sizeof(*shared));

    shared->loop = loop;
    shared->limit = limit;
    shared->timer.fire = on_timer;
    random_bytes(shared->seed, sizeof(shared->seed));
    table_init(&shared->table, SLOTS_MIN);
    return shared;
}

static void free_entries(struct table *table)
{
    for (size_t i = 0; table->slots && i <= table->mask; i++) {
        while (table->slots[i]) {
            struct entry *entry = table->slots[i];
            table->slots[i] = entry->next;
            free_entry(entry);
        }
    }
    free(table->slots);
}

void shared_free(struct shared *shared)
{
    if (!shared)
        return;
    timer_stop(&shared->timer);
    free_entries(&shared->old);
    free_entries(&shared->table);
    free(shared->heap);
    free(shared);
}

size_t shared_count(const struct shared *shared)
{
    return shared->table.count + (shared->old.slots ? shared->old.count : 0);
}

size_t shared_bytes(const struct shared *shared)
{
    return shared->bytes;
}

static bool check_key(struct str key, struct err *err)
{
    if (key.len > 0 && key.len <= SHARED_KEY_MAX)
        return true;
    return err_set(err, "INVALID_KEY", "a key has 1 to %d bytes, got %zu", SHARED_KEY_MAX, key.len);
}

/* Whether a value fits in place of what the entry (NULL: nothing) has. */
static bool fits(struct shared *shared,
                 const struct entry *entry,
                 struct str key,
                 size_t text_len,
                 struct err *err)
{
    const size_t before = entry ? size_of(key.len, entry->text_len) : 0;

    if (shared->bytes - before + size_of(key.len, text_len) <= shared->limit)
        return true;
    return err_set(err, "SHARED_FULL", "the shared dictionary is full (%zu of %zu bytes in use)",
                   shared->bytes, shared->limit);
}

bool shared_get(struct shared *shared, struct str key, struct shared_value *value)
{
    const struct entry *entry = lookup(shared, key);

    move_some(shared);
    if (entry)
        *value = value_of(entry);
    return entry != NULL;
}

bool shared_set(struct shared *shared,
                struct str key,
                const struct shared_value *value,
                uint64_t ttl_ms,
                struct err *err)
{
    const size_t text_len = value->type <= SHARED_JSON ? value->text.len : 0;
    struct entry *entry;
    struct shared_value now;

    if (!check_key(key, err))
        return false;
    entry = lookup(shared, key);
    if (!fits(shared, entry, key, text_len, err))
        return false;
    if (!entry)
        entry = new_entry(shared, key);
    fill(shared, entry, value);
    set_due(shared, entry, ttl_ms);
    move_some(shared);
    now = value_of(entry);
    tell(shared, key_of(entry), &now);
    return true;
}

bool shared_incr(struct shared *shared,
                 struct str key,
                 double by,
                 uint64_t ttl_ms,
                 double *result,
                 struct err *err)
{
    struct entry *entry = lookup(shared, key);
    struct shared_value value = {.type = SHARED_NUMBER, .number = by};

    if (!entry) {
        *result = by;
        return shared_set(shared, key, &value, ttl_ms, err);
    }
    if (entry->type != SHARED_NUMBER)
        return err_set(err, "NOT_A_NUMBER", "the value of \"%.*s\" is not a number",
                       (int)(key.len < 100 ? key.len : 100), key.at);
    entry->number += by;
    *result = entry->number;
    move_some(shared);
    value = value_of(entry);
    tell(shared, key_of(entry), &value);
    return true;
}

bool shared_delete(struct shared *shared, struct str key)
{
    struct table *table;
    struct entry **at;

    if (!lookup(shared, key))
        return false;
    at = find(shared, siphash(shared->seed, key), key, &table);
    remove_at(shared, table, at);
    move_some(shared);
    return true;
}

/* --- watches --- */

void shared_watch_start(struct shared *shared, struct shared_watch *watch)
{
    watch->shared = shared;
    watch->prev = NULL;
    watch->next = shared->watches;
    if (shared->watches)
        shared->watches->prev = watch;
    shared->watches = watch;
}

void shared_watch_stop(struct shared_watch *watch)
{
    if (!watch->shared)
        return;
    if (watch->prev)
        watch->prev->next = watch->next;
    else
        watch->shared->watches = watch->next;
    if (watch->next)
        watch->next->prev = watch->prev;
    watch->shared = NULL;
}
