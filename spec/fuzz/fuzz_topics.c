/* What replicas get through Redis: the messages of topics, and the values of buntime.shared. What
 * was read is inside of what came, and written again it is the same.
 */
#include "fuzz.h"

#include "bind/topics_relay.h"
#include "data/shared_redis.h"

static bool is_inside(struct str part, struct str whole)
{
    return part.at >= whole.at && part.len <= whole.len &&
           part.at + part.len <= whole.at + whole.len;
}

static void read_messages(struct str bytes)
{
    struct str rest = bytes, before = bytes;
    struct published p;
    struct buf again = {0};

    while (topics_read(&rest, &p)) {
        require(is_inside(p.topic, before) && is_inside(p.data, before));
        require(rest.len < before.len && is_inside(rest, before));
        buf_reset(&again);
        topics_write(&again, &p);
        require(again.len == before.len - rest.len);
        require(memcmp(again.data + 1, before.at + 1, again.len - 1) == 0);
        before = rest;
    }
    buf_fini(&again);
}

static void read_value(struct str bytes)
{
    struct shared_value value;

    if (!shared_redis_decode(bytes, &value))
        return;
    if (value.type == SHARED_TEXT || value.type == SHARED_JSON)
        require(value.text.len == bytes.len - 1 && is_inside(value.text, bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct str given = {(const char *)data, size};
    char *copy = exact_copy(given);

    read_messages((struct str){copy, size});
    read_value((struct str){copy, size});
    free(copy);
    return 0;
}
