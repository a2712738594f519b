fkm_test(test_rows SOURCES unit/data/test_rows.c LINK fkm_data)
fkm_test(test_source SOURCES unit/data/test_source.c LINK fkm_data)
