/* What a connection keeps of what it has read.
 *
 * h2o reads into 4 KiB at least and keeps them until the request in them is answered, or, after a
 * read that brought nothing, until the next one comes. Ten thousand that wait would keep 50 MB.
 * So a request that is complete moves to a buffer of its size before h2o looks at it, and a buffer
 * with nothing in it is given back.
 */
#include "http/server_impl.h"

enum { SMALL = 512 - offsetof(h2o_buffer_t, _buf), FIT_MAX = 2048 };

void input_init(struct http_server *server)
{
    server->small_input = (h2o_buffer_prototype_t){
        .allocator = {.max = 16},
        ._initial_buf = {.capacity = SMALL},
        .mmap_settings = &h2o_socket_buffer_mmap_settings,
    };
}

void input_fini(struct http_server *server)
{
    h2o_mem_recycle_t *spare = &server->small_input.allocator;
    spare->max = 0;
    while (spare->cnt > 0)
        free(h2o_mem_alloc_recycle(spare, 0));
}

void input_fit(struct http_server *server, h2o_socket_t *socket)
{
    h2o_buffer_t *wide = socket->input, *fitting;
    if (wide->size == 0 || wide->size > FIT_MAX)
        return;
    h2o_buffer_init(&fitting, &server->small_input);
    memcpy(h2o_buffer_reserve(&fitting, wide->size).base, wide->bytes, wide->size);
    fitting->size = wide->size;
    h2o_buffer_dispose(&wide);
    socket->input = fitting;
}

void input_give_back(h2o_socket_t *socket)
{
    if (socket->input->size > 0)
        return;
    h2o_buffer_dispose(&socket->input);
    h2o_buffer_init(&socket->input, &h2o_socket_buffer_prototype);
}
