/* Bytes of a link: frames are cut off them, and each is read as everything that a frame may be.
 * Nothing is read outside of the bytes, and text ends in a NUL.
 */
#include "fuzz.h"

#include "worker/frame.h"

static void check_text(struct str s)
{
    require(!s.at || s.at[s.len] == '\0');
}

static void check_texts(struct frame_reader r, uint64_t count)
{
    for (uint64_t i = 0; i < count && !r.bad; i++)
        check_text(frame_get_str(&r));
    require(!r.bad); /* their reader has looked at all of them */
}

static void check_payload(struct str payload)
{
    struct frame_reader r = frame_reader(payload);
    struct frame_hello hello;
    struct frame_request request;
    struct frame_response response;
    struct frame_log log;
    struct err err;

    if (frame_read_hello(payload, &hello)) {
        check_text(hello.name);
        check_texts(hello.read, hello.read_count);
        check_texts(hello.write, hello.write_count);
        check_texts(hello.net, hello.net_count);
    }
    if (frame_read_request(payload, &request)) {
        check_text(request.id);
        check_texts(request.headers, 2 * (uint64_t)request.header_count);
        require(request.body.len <= payload.len);
    }
    if (frame_read_response(payload, &response)) {
        check_texts(response.headers, 2 * (uint64_t)response.header_count);
        require(response.body.len <= payload.len);
    }
    if (frame_read_log(payload, &log))
        check_text(log.message);
    if (frame_get_err(&r, &err))
        require(memchr(err.traceback, '\0', sizeof(err.traceback)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size ? size : 1);
    struct str rest = {bytes, size};
    struct frame frame;

    require(bytes != NULL);
    if (size)
        memcpy(bytes, data, size);
    check_payload(rest);
    while (frame_next(&rest, &frame) == FRAME_WHOLE) {
        require(frame.payload.len <= FRAME_MAX && frame.type > 0 && frame.type < FRAME_TYPES);
        check_payload(frame.payload);
    }
    free(bytes);
    return 0;
}
