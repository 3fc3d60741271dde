# Every test is a file; none is listed here. ctest labels: unit, integration, plugin, fuzz, soak,
# image, e2e, lint.

set(root ${PROJECT_SOURCE_DIR})
set(sanitizer_env
  "ASAN_OPTIONS=abort_on_error=0:detect_stack_use_after_return=0:strict_string_checks=1"
  "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1")
set(lua_path "LUA_PATH=./lua/?.lua\\;./lua/?/init.lua\\;./?.lua\\;\\;")
find_program(BUSTED busted)

# A machine that only builds has no busted (`make run`): nothing here may fail for want of it, and
# lint/configure sees to that.

# add_house_test(NAME label seconds COMMAND…), run in the source directory
function(add_house_test name label seconds)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${root})
  set_tests_properties(${name} PROPERTIES
    LABELS ${label}
    TIMEOUT ${seconds}
    ENVIRONMENT "${sanitizer_env}")
endfunction()

# add_spec(NAME label seconds FILE [BINARY [VARIABLE=VALUE…]])
function(add_spec name label seconds file)
  if(NOT BUSTED)
    return()
  endif()
  add_house_test(${name} ${label} ${seconds} ${LUAJIT} ${BUSTED} --output=TAP ${file})
  set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "${lua_path}")
  set(environment ${ARGN})
  if(environment)
    list(POP_FRONT environment binary)
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "BUNTIME_BIN=${binary}" ${environment})
  endif()
endfunction()

# C units: spec/c/test_NAME.c (77: it needs what only an integration spec gives it)
file(GLOB unit_files CONFIGURE_DEPENDS ${root}/spec/c/test_*.c)
foreach(file ${unit_files})
  get_filename_component(name ${file} NAME_WE)
  string(REGEX REPLACE "^test_" "" title ${name})
  add_executable(${name} ${file})
  set_target_properties(${name} PROPERTIES
    ENABLE_EXPORTS ON
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/spec)
  target_link_libraries(${name} PRIVATE runtime)
  add_house_test(c/${title} unit 120 ${name})
  set_tests_properties(c/${title} PROPERTIES SKIP_RETURN_CODE 77)
endforeach()

# Lua units run inside the program, where the library and the C halves of its modules are
file(GLOB spec_files CONFIGURE_DEPENDS RELATIVE ${root} ${root}/spec/unit/*_spec.lua)
if(TARGET buntime AND BUSTED)
  foreach(file ${spec_files})
    get_filename_component(name ${file} NAME_WE)
    string(REGEX REPLACE "_spec$" "" title ${name})
    add_house_test(lua/${title} unit 120 $<TARGET_FILE:buntime> test ${file})
    set_property(TEST lua/${title} APPEND PROPERTY ENVIRONMENT "LUA_PATH=./?.lua\\;\\;")
  endforeach()
endif()

# The harness of the integration specs, and that of the benchmarks
file(GLOB spec_files CONFIGURE_DEPENDS RELATIVE ${root}
  ${root}/spec/support/*_spec.lua ${root}/bench/*_spec.lua)
foreach(file ${spec_files})
  get_filename_component(name ${file} NAME_WE)
  string(REGEX REPLACE "_spec$" "" title ${name})
  add_spec(lua/${title} unit 120 ${file})
endforeach()

# Integration: with this build's binary and, if given, with the release one as well
file(GLOB spec_files CONFIGURE_DEPENDS RELATIVE ${root} ${root}/spec/integration/*_spec.lua)
if(TARGET buntime)
  foreach(file ${spec_files})
    get_filename_component(name ${file} NAME_WE)
    string(REGEX REPLACE "_spec$" "" title ${name})
    add_spec(integration/${title} integration 180 ${file} $<TARGET_FILE:buntime>)
    if(BUNTIME_RELEASE_BIN)
      add_spec(integration/release/${title} integration 180 ${file} ${BUNTIME_RELEASE_BIN})
    endif()
  endforeach()

  # A few of them again with the collector at its most aggressive
  foreach(title services hooks reload routing redis replicas_shared)
    add_spec(integration/gc/${title} integration 180 spec/integration/${title}_spec.lua
      $<TARGET_FILE:buntime> BUNTIME_GC_STRESS=1)
  endforeach()

  # The plugins and apps that ship test themselves with the binary, as their author would
  file(GLOB plugin_dirs CONFIGURE_DEPENDS RELATIVE ${root}
    ${root}/plugins/*/*_spec.lua ${root}/apps/*/*_spec.lua)
  list(TRANSFORM plugin_dirs REPLACE "/[^/]*$" "")
  list(REMOVE_DUPLICATES plugin_dirs)
  foreach(dir ${plugin_dirs})
    get_filename_component(title ${dir} NAME)
    add_house_test(plugin/${title} plugin 60 $<TARGET_FILE:buntime> test ${dir})
  endforeach()
endif()

# Fuzzers: spec/fuzz/fuzz_NAME.c. Without libFuzzer each replays its corpus, crashes included.
file(GLOB fuzz_files CONFIGURE_DEPENDS ${root}/spec/fuzz/fuzz_*.c)
add_custom_target(fuzzers)
foreach(file ${fuzz_files})
  get_filename_component(name ${file} NAME_WE)
  string(REGEX REPLACE "^fuzz_" "" title ${name})
  add_executable(${name} ${file})
  add_dependencies(fuzzers ${name})
  set_target_properties(${name} PROPERTIES
    ENABLE_EXPORTS ON
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/spec)
  target_link_libraries(${name} PRIVATE runtime)
  if(BUNTIME_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name} PRIVATE ${root}/cmake/fuzz_replay.c)
    add_house_test(fuzz/${title} fuzz 120 ${name} ${root}/spec/fuzz/corpus/${title})
  endif()
endforeach()

# A short soak, so that the long one (`make soak`) still runs when it is wanted
function(add_soak name binary)
  add_house_test(${name} soak 300 ${LUAJIT} spec/soak/run)
  set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "BUNTIME_BIN=${binary}" "SOAK_SECONDS=8")
endfunction()
if(TARGET buntime AND BUSTED)
  add_soak(soak/short $<TARGET_FILE:buntime>)
  if(BUNTIME_RELEASE_BIN)
    add_soak(soak/release/short ${BUNTIME_RELEASE_BIN})
  endif()
endif()

# The container image, built and run; only once, and only where a container can be run (77: it cannot)
if(BUNTIME_RELEASE_BIN)
  add_house_test(image/run image 900 bash spec/image/run.sh ${PROJECT_BINARY_DIR}/image)
  add_house_test(image/deploy image 120 sh spec/image/deploy.sh)
  set_tests_properties(image/run image/deploy PROPERTIES SKIP_RETURN_CODE 77)
  set_property(TEST image/deploy APPEND PROPERTY ENVIRONMENT "BUNTIME_BIN=${BUNTIME_RELEASE_BIN}")
endif()

# The shipped pages in a browser; once
if(BUNTIME_RELEASE_BIN)
  add_house_test(e2e/browser e2e 600 sh spec/e2e/run.sh)
  set_tests_properties(e2e/browser PROPERTIES SKIP_RETURN_CODE 77)
  set_property(TEST e2e/browser APPEND PROPERTY ENVIRONMENT "BUNTIME_BIN=$<TARGET_FILE:buntime>")
endif()

# Lints
foreach(title layers functions stubs reference)
  add_house_test(lint/${title} lint 60 ${LUAJIT} spec/lint/${title}.lua)
endforeach()
foreach(title format clang)
  add_house_test(lint/${title} lint 300 sh spec/lint/${title}.sh)
endforeach()
add_house_test(lint/configure lint 120
  ${CMAKE_COMMAND} -S . -B ${PROJECT_BINARY_DIR}/configure -G Ninja -DBUSTED=OFF)
add_house_test(lint/luacheck lint 120 luacheck -q --no-color lua plugins apps spec bench cmake)
