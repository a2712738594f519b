fkm_test(test_words SOURCES unit/text/test_words.c LINK fkm_text)
fkm_test(test_vectorizer SOURCES unit/text/test_vectorizer.c LINK fkm_text)
