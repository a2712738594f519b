# faiss for the command's --use-faiss (FKM_WITH_FAISS), or for the test of it alone: the target fkm_faiss, or none. The
# library itself stays C and knows no faiss.
# SPDX-License-Identifier: Apache-2.0
include(CheckLanguage)
set(FKM_FAISS_FOUND FALSE)
if(FKM_WITH_FAISS OR (FKM_BUILD_TESTS AND NOT CMAKE_CROSSCOMPILING))
    check_language(CXX)
    if(CMAKE_CXX_COMPILER)
        enable_language(CXX)
        find_package(OpenMP QUIET COMPONENTS CXX)
        if(OpenMP_CXX_FOUND)
            find_package(faiss 1.7.3 CONFIG QUIET)
        endif()
    endif()
    if(TARGET faiss)
        set(FKM_FAISS_FOUND TRUE)
        add_library(fkm_faiss STATIC ${PROJECT_SOURCE_DIR}/cli/faiss_search.cpp)
        target_compile_features(fkm_faiss PRIVATE cxx_std_17)
        target_compile_options(fkm_faiss PRIVATE -Wall -Wextra -Wshadow
            $<$<BOOL:${FKM_WARNINGS_AS_ERRORS}>:-Werror>)
        target_include_directories(fkm_faiss PUBLIC ${PROJECT_SOURCE_DIR}/cli ${PROJECT_SOURCE_DIR}/include)
        target_link_libraries(fkm_faiss PRIVATE faiss OpenMP::OpenMP_CXX)
    elseif(FKM_WITH_FAISS)
        message(FATAL_ERROR "FKM_WITH_FAISS is ON, but faiss 1.7.3 or newer with OpenMP and a C++ compiler was not found "
            "(Debian: libfaiss-dev)")
    endif()
endif()
