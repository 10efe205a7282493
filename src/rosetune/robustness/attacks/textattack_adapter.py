"""stub"""
def import_textattack():
    import sys

    import transformers
    x = transformers.LayoutLMv2ImageProcessorPil
    sys.modules["transformers"].LayoutLMv2FeatureExtractor = x
    import textattack
    return textattack
