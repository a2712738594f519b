# Published data sets, where this machine has them (FKM_DATA).
# SPDX-License-Identifier: Apache-2.0
find_package(Python3 COMPONENTS Interpreter QUIET)
if(Python3_FOUND)
    add_test(NAME test_export COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/real/test_export.py)
    set_tests_properties(test_export PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
    if(TARGET fkm)
        add_test(NAME test_accuracy COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/real/test_accuracy.py
            $<TARGET_FILE:fkm>)
        set_tests_properties(test_accuracy PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
    endif()
endif()
