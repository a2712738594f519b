fkm_test(test_approximate SOURCES unit/index/test_approximate.c LINK fkm_index)
