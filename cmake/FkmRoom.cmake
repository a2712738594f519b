# A room is one folder of src/ and one static library fkm_<room>. Tests of a room link only the rooms it uses.
#   fkm_room(io USES base data SOURCES csv.c npy.c)
# SPDX-License-Identifier: Apache-2.0

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, RelWithDebInfo or Debug" FORCE)
endif()

add_library(fkm_flags INTERFACE)
target_compile_features(fkm_flags INTERFACE c_std_17)
target_include_directories(fkm_flags INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
target_compile_definitions(fkm_flags INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE
    FKM_VERSION="${PROJECT_VERSION}")
# -ffp-contract=off: same bits whatever the compiler fuses. The prefix map keeps the builder's folders out of the
# binaries (and out of the tests' messages). gcc's maybe-uninitialized cannot see that fkmi_fail() never returns FKM_OK.
target_compile_options(fkm_flags INTERFACE -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wvla
    -fvisibility=hidden -fno-math-errno -ffp-contract=off -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=
    $<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> $<$<BOOL:${FKM_WARNINGS_AS_ERRORS}>:-Werror>)
if(FKM_SANITIZE)
    target_compile_options(fkm_flags INTERFACE -fsanitize=${FKM_SANITIZE} -fno-omit-frame-pointer
        -fno-sanitize-recover=all)
    target_link_options(fkm_flags INTERFACE -fsanitize=${FKM_SANITIZE})
endif()
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
target_link_libraries(fkm_flags INTERFACE Threads::Threads m)

set_property(GLOBAL PROPERTY FKM_ROOMS "")

function(fkm_room room)
    cmake_parse_arguments(ROOM "" "" "USES;SOURCES" ${ARGN})
    add_library(fkm_${room} STATIC ${ROOM_SOURCES})
    set_target_properties(fkm_${room} PROPERTIES POSITION_INDEPENDENT_CODE ON C_EXTENSIONS OFF)
    target_link_libraries(fkm_${room} PUBLIC fkm_flags)
    foreach(used IN LISTS ROOM_USES)
        target_link_libraries(fkm_${room} PUBLIC fkm_${used})
    endforeach()
    # The compiler flags of a file come from its name, so a stray instruction cannot leak into shared code.
    foreach(file IN LISTS ROOM_SOURCES)
        if(file MATCHES "_neon(_dot)?\\.c$")
            # gcc's first scheduler loads all rows of a tile at once, and spills sums for them.
            set(flags $<$<C_COMPILER_ID:GNU>:-fno-schedule-insns>)
            if(CMAKE_MATCH_1)
                list(APPEND flags -march=armv8.2-a+dotprod)
            endif()
            set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS "${flags}")
        elseif(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
            continue()
        elseif(file MATCHES "_avx2(_vnni)?\\.c$")
            set(flags -mavx2 -mfma -mf16c)
            if(CMAKE_MATCH_1)
                list(APPEND flags -mavxvnni)
            endif()
            set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS "${flags}")
        elseif(file MATCHES "_avx512\\.c$")
            set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS
                "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mfma;-mf16c;-mprefer-vector-width=512")
        endif()
    endforeach()
    set_property(GLOBAL APPEND PROPERTY FKM_ROOMS fkm_${room})
endfunction()
