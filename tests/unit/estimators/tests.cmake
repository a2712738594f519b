add_library(fkm_test_data STATIC support/data.c)
target_link_libraries(fkm_test_data PUBLIC fkm_test_support fkm_estimators)

foreach(topic learning lists inside file hostile edges bad_input threads streams interrupt top fit_answers many_tags)
    fkm_test(test_model_${topic} SOURCES unit/estimators/test_model_${topic}.c LINK fkm_test_data)
endforeach()
