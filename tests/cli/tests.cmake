# The command, as users meet it: text, exit codes, files.
if(TARGET fkm)
    foreach(topic usage files convert learn stream text faiss)
        add_test(NAME cli_${topic} COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_${topic}.sh $<TARGET_FILE:fkm>)
        set_tests_properties(cli_${topic} PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77)
    endforeach()
endif()
