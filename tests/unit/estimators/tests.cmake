add_library(fkm_test_data STATIC support/data.c)
target_link_libraries(fkm_test_data PUBLIC fkm_test_support fkm_estimators)

foreach(topic models file bad_input threads streams)
    fkm_test(test_${topic} SOURCES unit/estimators/test_${topic}.c LINK fkm_test_data)
endforeach()
