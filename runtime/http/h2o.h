/* libh2o for the files of http/, without its warnings being ours. */
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <h2o.h>
#include <h2o/http1.h>
#pragma GCC diagnostic pop
