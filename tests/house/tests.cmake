# Tests of the whole: rooms and arrows, the public header, the installed library, the documents.
# SPDX-License-Identifier: Apache-2.0
find_package(Python3 COMPONENTS Interpreter QUIET)
if(NOT Python3_FOUND)
    message(STATUS "tests/house is left out: no python3")
    return()
endif()

function(fkm_house_test name)
    add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/house/${name}.py ${ARGN})
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
endfunction()

fkm_house_test(test_arrows)
if(NOT FKM_SANITIZE) # what sanitizers add to the library is not ours
    fkm_house_test(test_public_header --cc ${CMAKE_C_COMPILER} --library $<TARGET_FILE:fastkmeans>
        --archive $<TARGET_FILE:fastkmeans_static>)
    set(command "")
    if(TARGET fkm)
        set(command --fkm $<TARGET_FILE:fkm>)
    endif()
    fkm_house_test(test_docs --cc ${CMAKE_C_COMPILER} --library $<TARGET_FILE:fastkmeans> ${command})
    if(FKM_INSTALL)
        fkm_house_test(test_install --cmake ${CMAKE_COMMAND} --build ${PROJECT_BINARY_DIR}
            --cc ${CMAKE_C_COMPILER})
    endif()
endif()
